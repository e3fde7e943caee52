"""Writes the tables of README.md from results/*.json, between markers, so that no figure is copied by hand.

A table stands between `<!-- NAME -->` and `<!-- end NAME -->`, NAME being that of the file of rows. A table whose file
is not there is left as it is.
"""

import argparse
import json
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from setting import setting_of
from summary import GOALS, geometric_mean, left_out_lines, missed, of_peer, peers

HERE = Path(__file__).parent

Row = dict[str, Any]


def main() -> None:
    """Renew the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, default=HERE / "README.md")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    asked = parser.parse_args()
    asked.page.write_text(renewed(asked.page.read_text(encoding="utf-8"), asked.results), encoding="utf-8")


def renewed(page: str, results: Path) -> str:
    """The page with every table whose rows are there written again."""
    for name, write in TABLES.items():
        file = results / f"{name}.json"
        if file.exists():
            rows = json.loads(file.read_text(encoding="utf-8"))
            about = json.loads(setting_of(file).read_text(encoding="utf-8"))
            table = f"<!-- {name} -->\n{caption(about)}\n\n{write(rows, about)}\n<!-- end {name} -->"
            page = re.sub(f"<!-- {name} -->.*?<!-- end {name} -->", lambda _, t=table: t, page, flags=re.DOTALL)
    return page


def caption(about: Row) -> str:
    """Date, machine, versions and command."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    where = f"{about['date']}, {about['machine']}, load {about['load']:.1f}"
    return f"{where}; {versions}; {about['blas']}. `{about['command']}`"


def em(rows: Sequence[Row], about: Row) -> str:
    """Geometric means, cells that miss a goal, means by family and N, shares of the floor."""
    versions = about["versions"]
    overall = table(
        ("peer", "cells", "geometric mean", "goal", "least", "most"),
        (
            (f"{peer} {versions[peer]}", len(own), f"**{geometric_mean(own):.1f}x**", goal(peer), *extremes(own))
            for peer in peers(rows)
            for own in [[row["ratio"] for row in of_peer(rows, peer)]]
        ),
    )
    return "\n\n".join(
        [
            overall,
            "\n".join(f"- {line}" for line in [*missed(rows), *left_out_lines(about["left_out"])]),
            "Geometric mean of the ratios, by family and N:",
            by_family(rows),
            "Share of the floor's speed, full covariance:",
            share_table(rows),
        ]
    )


def by_family(rows: Sequence[Row]) -> str:
    """A line for each peer and family, a column for each N."""
    sizes = sorted({row["N"] for row in rows})
    lines = []
    for peer in peers(rows):
        for family in dict.fromkeys(row["family"] for row in of_peer(rows, peer)):
            found = [[r["ratio"] for r in of_peer(rows, peer) if (r["family"], r["N"]) == (family, n)] for n in sizes]
            lines.append((peer, family, *(f"{geometric_mean(own):.1f}x" if own else "" for own in found)))
    return table(("peer", "family", *(f"N = {n:,}" for n in sizes)), lines)


def share_table(rows: Sequence[Row]) -> str:
    """A line for each D and K, a column for each N."""
    own = [row for row in of_peer(rows, "workbench") if row["family"] == "full"]
    sizes = sorted({row["N"] for row in own})
    share = {(row["D"], row["K"], row["N"]): f"{row['share_of_floor']:.0%}" for row in own}
    shapes = sorted({(d, k) for d, k, _ in share})
    lines = ((d, k, *(share.get((d, k, n), "") for n in sizes)) for d, k in shapes)
    return table(("D", "K", *(f"N = {n:,}" for n in sizes)), lines)


def restarts(rows: Sequence[Row], about: Row) -> str:
    """A line for each size and way of running; no ratio where no round has equal answers."""

    def speed(r: Row) -> tuple[str, str]:
        if r["speedup"] is None:
            return "", ""
        return f"{r['speedup']:.1f}x", f"{r['speedup_min']:.1f}x to {r['speedup_max']:.1f}x"

    lines = (
        (f"{r['N']:,}", r["peer"], f"{r['restarts']:.0f}", f"{r['equal']} of {r['rounds']}", *speed(r),
         f"{r['log_likelihood']:.3f}")
        for r in rows
    )  # fmt: skip
    heads = (
        "N",
        "",
        "restarts",
        "rounds that reached it",
        "speed over scikit-learn",
        "over the rounds",
        "log-likelihood",
    )
    return table(heads, lines)


def memory(rows: Sequence[Row], about: Row) -> str:
    """A line for each kind of data."""
    lines = (
        (r["data"], f"{r['N']:,}", f"{r['data_mb']:.0f} MB", f"{r['peak']:.2f}x", f"{r['grown']:.2f}x") for r in rows
    )
    return table(("data", "N", "size", "peak over size", "growth since the imports over size"), lines)


def samplers(rows: Sequence[Row], about: Row) -> str:
    """A line for each case and sampler."""
    lines = (
        (r["about"], r["peer"], f"{r['rate']:,.0f}",
         f"{r['ratio']:.1f}x {r['base']}" if r["ratio"] else f"{r['base']} drew none" if r["base"] else "",
         f"{r['goal']:g}x" if r["goal"] else "", f"{r['compile_seconds']:.0f} s")
        for r in rows
    )  # fmt: skip
    return table(("problem", "sampler", "effective draws a second", "ratio", "goal", "compiling"), lines)


def start(rows: Sequence[Row], about: Row) -> str:
    """A line for each method."""
    lines = (
        (r["method"], f"{r['first']:.1f} s", f"{r['second']:.1f} s", f"{r['second_min']:.1f} s to "
         f"{r['second_max']:.1f} s")
        for r in rows
    )  # fmt: skip
    return table(("method", "nothing compiled", "another seed", "over the runs"), lines)


def native(rows: Sequence[Row], about: Row) -> str:
    """A line for each cell."""
    lines = [
        (
            row["family"],
            f"{row['N']:,}",
            row["D"],
            row["K"],
            f"{1e3 * row['seconds']:.3g}",
            f"{row['ratio']:.1f}x",
            f"{row['share']:.0%}",
        )
        for row in rows
    ]
    mean = geometric_mean([row["ratio"] for row in rows])
    return table(("family", "N", "D", "K", "ms", "over JAX's pass", "of the floor"), lines) + (
        f"\n\nThe geometric mean of the ratios is {mean:.1f}x; log-likelihoods differ by at most "
        f"{max(row['difference'] for row in rows):.0e} of their size."
    )


def scaling(rows: Sequence[Row], about: Row) -> str:
    """A line for each kind of scaling and shape, a column for each layout."""
    layouts = list(dict.fromkeys(row["layout"] for row in rows))
    lines = []
    for kind, d, k in dict.fromkeys((row["kind"], row["D"], row["K"]) for row in rows):
        own = {row["layout"]: row for row in rows if (row["kind"], row["D"], row["K"]) == (kind, d, k)}
        one, *others = (own[layout] for layout in layouts)
        shown = (f"{row['ratio']:.2f}x ({1e3 * row['seconds']:.2f} ms)" for row in others)
        lines.append((kind, f"{one['N']:,}", d, k, f"{1e3 * one['seconds']:.2f} ms", *shown))
    return table(("scaling", "N on one device", "D", "K", *layouts), lines)


def starts(rows: Sequence[Row], about: Row) -> str:
    """A line for each rule: the share of its starts that find a cell's optimum, and the cells in which some do."""
    rows = [row for row in rows if row["optimum"] is not None]
    lines = []
    for rule in dict.fromkeys(row["rule"] for row in rows):
        own = [row for row in rows if row["rule"] == rule]
        share = sum(row["share"] for row in own) / len(own)
        found = (f"{sum(row[key] for row in own)} of {len(own)}" for key in ("few", "all"))
        unsound = sum(row["best"] is None for row in own)
        lines.append((rule, f"{share:.0%}", *found, unsound, f"{statistics.median(row['passes'] for row in own):.0f}"))
    head = ("rule", "starts that find the optimum", "cells from 8 starts", "from all", "no sound end", "passes")
    return table(head, lines)


def starts_all(rows: Sequence[Row], about: Row) -> str:
    """The same, and the cells that all starts miss, with the nats from the best sound end up to the optimum."""
    missed: dict[str, list[str]] = {}
    for row in rows:
        if row["optimum"] is not None and not row["all"]:
            below = None if row["best"] is None else row["optimum"] - row["best"]
            short = "nothing sound" if below is None else f"{below:.2f}" if below > 0 else "a suspicious end higher up"
            missed.setdefault(row["data"], []).append(f"{row['family']} {row['K']} ({short})")
    without = sum(row["optimum"] is None for row in rows)
    lines = [f"- {data}: {', '.join(cells)}" for data, cells in missed.items()] or ["- none"]
    head = f"Of {len(rows)} cells {without} have no sound optimum. Missed (family, K, nats below the optimum):"
    return "\n".join([starts(rows, about), "", *searches(rows), head, "", *lines])


def searches(rows: Sequence[Row]) -> list[str]:
    """A line about the time of searches, where it was measured."""
    times = [1e3 * row["seconds"] for row in rows if row.get("seconds") is not None]
    if not times:
        return []
    mean, median = statistics.mean(times), statistics.median(times)
    return [f"A search takes {mean:.0f} ms of one core on average (median {median:.0f}, most {max(times):.0f}).", ""]


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    cells = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in cells)


def goal(peer: str) -> str:
    """The goal for a peer's geometric mean, if there is one."""
    return f"{GOALS[peer]:g}x" if peer in GOALS else ""


def extremes(ratios: Sequence[float]) -> tuple[str, str]:
    """Least and most."""
    return f"{min(ratios):.2f}x", f"{max(ratios):.1f}x"


TABLES: dict[str, Callable[[Sequence[Row], Row], str]] = {
    "em": em,
    "restarts": restarts,
    "memory": memory,
    "samplers": samplers,
    "start": start,
    "starts": starts,
    "starts_all": starts_all,
    "starts_again": starts_all,
    "starts_searches": starts_all,
    "native": native,
    "scaling": scaling,
}


if __name__ == "__main__":
    main()

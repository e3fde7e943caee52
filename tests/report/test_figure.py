"""Figures for a paper: what they draw of stored results, in which format, size, palette and legend."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from matplotlib.colors import to_hex

from workbench.cli import cli
from workbench.compare import Comparison
from workbench.compare.estimates import estimates_of
from workbench.errors import InputError
from workbench.plots import groups_of, panels_of
from workbench.plots.style import CYCLE, OWNERS, palette_of
from workbench.posterior import relabel
from workbench.report import figure, save_figure
from workbench.report.figure import MAKERS, OF_PAGE


@pytest.fixture(scope="module")
def comparison(tiny_run: tuple[Path, Comparison]) -> Comparison:
    return tiny_run[1]


def plot(*words: object) -> Result:
    return CliRunner().invoke(cli, ["plot", *map(str, words)], prog_name="workbench", catch_exceptions=False)


@pytest.mark.parametrize("name", [*MAKERS, *OF_PAGE])
def test_every_figure_is_made_in_the_size_that_is_asked_for(name: str, comparison: Comparison) -> None:
    made = figure(comparison, name, size=(5.0, 4.0))
    assert tuple(made.get_size_inches()) == (5.0, 4.0)
    made.draw_without_rendering()
    assert any(ax.has_data() for ax in made.axes)


def test_panels_are_the_relabelled_draws_in_the_order_of_tables(comparison: Comparison) -> None:
    height, weight, mean = panels_of(comparison)
    trace = comparison["nuts"]
    np.testing.assert_array_equal(height.draws[..., 0], trace.log_joint[:, -20:])
    draws = relabel(trace, comparison.problem).mixtures
    assert weight.title == "weight" and np.allclose(weight.draws.sum(-1), 1.0)
    means = np.asarray(draws.means)[..., 0]
    assert np.array_equal(np.sort(mean.draws, -1), np.sort(means, -1))
    assert np.all(np.diff(mean.draws.mean((0, 1))) > 0)


def test_a_trace_and_a_rank_plot_show_every_chain(comparison: Comparison) -> None:
    made = figure(comparison, "trace", palette=["#112233", "#445566"])
    panels = panels_of(comparison)
    assert len(made.axes) == len(panels) == 3
    lines = [line for line in made.axes[2].lines if len(line.get_xdata())]
    assert [to_hex(line.get_color()) for line in lines] == ["#112233"] * 2 + ["#445566"] * 2
    np.testing.assert_array_equal(lines[1].get_ydata(), panels[2].draws[1, :, 0])
    ranked = figure(comparison, "rank")
    counts = [patch.get_data().values for patch in ranked.axes[2].patches if hasattr(patch, "get_data")]
    # The rank of a draw counts the draws below it, and half of those that a sampler repeated.
    drawn = panels[1].draws[..., 0]
    pooled = drawn.ravel()
    places = ((pooled < drawn[..., None]).sum(-1) + (pooled <= drawn[..., None]).sum(-1) + 1) / 2
    for count, chain in zip(counts, places, strict=True):
        np.testing.assert_array_equal(count, np.histogram(chain, 20, range=(0.5, 40.5))[0])


def test_a_forest_has_the_estimates_and_intervals_of_every_method(comparison: Comparison) -> None:
    groups = groups_of(comparison)
    assert [group.title.split(" of ")[0] for group in groups] == ["weight", "mean", "sd"]
    rows = {(row.parameter, row.component): row for row in estimates_of(comparison, "em").rows}
    assert groups[1].found["em"] == [rows["mean", 1], rows["mean", 2]]
    # The family is tied: one deviation for all components.
    assert groups[2].rows == ("all",) and groups[2].found["em"] == [rows["sd", None]]
    made = figure(comparison, "forest")
    intervals = [
        tuple(line.get_xdata())
        for line in made.axes[1].lines
        if to_hex(line.get_color()).upper() == OWNERS["em"] and len(line.get_xdata()) == 2
    ]
    assert intervals == [(rows["mean", k].low, rows["mean", k].high) for k in (1, 2)]
    labels = [text.get_text() for legend in made.legends or [made.axes[0].get_legend()] for text in legend.get_texts()]
    assert labels[-1] == "95% interval"


def test_marginals_have_area_one_over_the_middle_of_the_draws(comparison: Comparison) -> None:
    made = figure(comparison, "marginals", legend="right")
    assert len(made.axes) == 2 and len(made.legends) == 1
    for patch in made.axes[1].patches:
        heights, edges, _ = patch.get_data()
        assert np.sum(heights * np.diff(edges)) == pytest.approx(1.0)


@pytest.mark.parametrize(("suffix", "first"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_figure_is_saved_in_each_format_the_same_in_every_run(
    suffix: str, first: bytes, comparison: Comparison, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{n}.{suffix}" for n in range(2)]
    contents = [save_figure(figure(comparison, "classification"), path).read_bytes() for path in paths]
    assert contents[0].startswith(first)
    assert contents[0] == contents[1]
    with pytest.raises(InputError, match=r"suffix '.jpg' is no format; give .png, .pdf, .svg"):
        save_figure(figure(comparison, "classification"), tmp_path / "a.jpg")


def test_palettes_are_colours_or_colour_maps() -> None:
    assert palette_of(None, 2) == list(CYCLE[:2])
    assert palette_of(["r", "b"], 3) == ["r", "b", "r"]
    assert palette_of("black", 2) == ["black", "black"]
    assert palette_of("tab10", 3) == ["#1f77b4", "#ff7f0e", "#2ca02c"]
    assert len(set(palette_of("viridis", 9))) == 9


@pytest.mark.parametrize(
    ("name", "keywords", "message"),
    [
        ("classificaton", {}, "figure: unknown figure 'classificaton'. Did you mean 'classification'"),
        ("score", {"palette": "tab10"}, "palette: the figure 'score' has a size only"),
        ("trace", {"colour": "class"}, "colour: the figure 'trace' has palette, legend, columns, method, size"),
        ("trace", {"method": "em"}, "method: 'em' is no sampler of the comparison; it has nuts"),
        ("forest", {"legend": "below"}, "legend: unknown 'below'"),
        ("fit", {"size": (0.0, 3.0)}, "size: give width and height in inches"),
    ],
)
def test_what_a_figure_does_not_have_is_one_message(
    name: str, keywords: dict[str, object], message: str, comparison: Comparison
) -> None:
    with pytest.raises(InputError, match=message):
        figure(comparison, name, **keywords)  # type: ignore[arg-type]


def test_the_command_draws_what_is_named(tiny_run: tuple[Path, Comparison], tmp_path: Path) -> None:
    folder, _ = tiny_run
    out = tmp_path / "paper.pdf"
    result = plot(folder, "--figure", "classification", "--out", out, "--size", "3.4x2.6", "--palette", "red,blue")
    assert (result.exit_code, result.stdout.strip()) == (0, str(out)), result.output
    assert out.read_bytes().startswith(b"%PDF")
    for words, message in (
        (["--size", "3x3"], "--size: say which figure it is for"),
        (["--figure", "fit", "--size", "3"], "--size: give inches as WIDTHxHEIGHT"),
        (["--figure", "fit", "--figure", "score", "--out", out], "--out: is one file, and there are 2 figures"),
        (["--figure", "fit", "--out", out, "--format", "svg"], "--format: svg does not go with --out"),
        (["--figure", "bic"], "holds no selection; make one with `workbench select FILE"),
        (["--figure", "fit", "--job", "other"], "has no job 'other'. It has experiment-"),
    ):
        result = plot(folder, *words)
        assert result.exit_code == 2 and message in " ".join(result.stderr.split()), result.output


@pytest.mark.parametrize("name", ["n" * 300 + ".png", "taken/x.png"])
def test_a_figure_that_cannot_be_written_is_one_message(
    name: str, tiny_run: tuple[Path, Comparison], tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("")
    result = plot(tiny_run[0], "--figure", "score", "--out", tmp_path / name)
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "cannot be written (" in result.stderr and result.stderr.endswith("; give another --out\n")
    # It is the file that was asked for, and not a hidden one beside it.
    assert f"{tmp_path}/." not in result.stderr

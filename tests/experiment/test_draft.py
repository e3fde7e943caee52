"""A first config: what columns seem to be, and that the config is one."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from workbench.cli import cli
from workbench.errors import InputError
from workbench.experiment import read_experiment
from workbench.experiment.draft import draft_of, toml_of


def write(folder: Path, text: str, name: str = "birds.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def birds(missing: int = 0) -> str:
    """60 rows with an id, a class, a number that counts, a constant, two measures and a note."""
    rng = np.random.default_rng(0)
    lines = ["tag,kind,number,year,length,mass,note"]
    for n in range(60):
        length, mass = rng.normal(size=2)
        cell = "?" if n < missing else f"{mass:.3f}"
        lines.append(f"B{n},{'gull' if n % 2 else 'tern'},{n + 1},2020,{length:.3f},{cell},seen {n} times")
    return "\n".join(lines)


def test_each_column_is_what_it_seems(tmp_path: Path) -> None:
    draft = draft_of(write(tmp_path, birds(missing=5)))
    assert draft.columns == ["length", "mass"]
    assert (draft.identity, draft.label, draft.classes) == ("tag", "kind", ["gull", "tern"])
    assert draft.left_out == {"year": "is constant (2020)", "note": "names the rows too"} | {
        "number": "numbers the rows, as ids do"
    }
    assert (draft.rows, draft.incomplete, draft.missing) == (60, 5, {"mass": 5})


def test_a_guessed_label_is_called_one_with_the_columns_that_could_be_it_too(tmp_path: Path) -> None:
    lines = ["site,length,sex,code,note"]
    lines += [f"s{n % 2},{n * n}.5,{'mf'[n % 3 == 0]},{n % 2},seen {n - n % 2 * (n < 9)} times" for n in range(60)]
    path, config = write(tmp_path, "\n".join(lines)), tmp_path / "birds.toml"
    result = CliRunner().invoke(cli, ["init", str(path), "--out", str(config)], catch_exceptions=False)
    text = config.read_text(encoding="utf-8")
    assert 'label = "site"  # known classes (2); guessed: delete this line if these are no classes;' in text
    assert '# "sex", "code" could be the label as well' in text and '# not fitted: "note" is text\n' in text
    said = " ".join(result.output.split())
    assert "Guessed: the 2 values of 'site' are known classes; 'sex', 'code' could be it too; delete the line" in said
    # Alone it has no others, and a file without words has no guess.
    text = toml_of(draft_of(write(tmp_path, birds())), "x.csv", "x.toml")
    assert "guessed: delete this line" in text and "could be" not in text
    result = CliRunner().invoke(
        cli, ["init", str(write(tmp_path, "a\n1.5\n2.5\n3.7")), "--out", str(config), "--force"]
    )
    assert "Guessed:" not in result.output and result.exit_code == 0


def test_the_prior_is_said_to_move_what_climbs(tmp_path: Path) -> None:
    text = toml_of(draft_of(write(tmp_path, birds())), "x.csv", "x.toml")
    comment = text.split("# [prior]")[0].split("\n\n")[-1]
    assert "EM and ascent then give the mode under it, not maximum likelihood" in " ".join(comment.split())


def test_numbers_that_count_are_ids_where_there_are_no_others(tmp_path: Path) -> None:
    draft = draft_of(write(tmp_path, "number,length\n1,3.5\n2,3.1\n3,4.0\n4,4.5\n"))
    assert (draft.identity, draft.columns) == ("number", ["length"])
    # Alone, it is what is to be fitted.
    assert draft_of(write(tmp_path, "number\n1\n2\n3\n4\n")).columns == ["number"]


@pytest.mark.parametrize(
    ("name", "numbers", "is_id"),
    [
        ("n", range(1000, 1060), True),
        ("n", [*range(1030, 1060), *range(1000, 1030)], True),
        ("n", [3 * n + n % 2 for n in range(60)], False),  # gaps: a measure in whole units may have them
        ("Bird_ID", [3 * n + n % 2 for n in range(60)], True),
        ("id", [n // 2 for n in range(60)], False),
        ("n", [n + 0.5 for n in range(60)], False),
        ("n", [1e308 * (-1) ** n / (n + 1) for n in range(60)], False),
    ],
)
@pytest.mark.filterwarnings("error")
def test_whole_numbers_without_gaps_are_ids_wherever_they_begin(
    tmp_path: Path, name: str, numbers: Sequence[float], is_id: bool
) -> None:
    values = np.random.default_rng(3).normal(size=60)
    rows = "\n".join(f"{number},{value:.3f}" for number, value in zip(numbers, values, strict=True))
    draft = draft_of(write(tmp_path, f"{name},length\n{rows}\n"))
    assert (draft.identity, draft.columns) == ((name, ["length"]) if is_id else (None, [name, "length"]))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["2020-01-31", "2020-02-01"], "holds dates or times"),
        (["31.1.20 12:30", "1.2.20 8:00:01"], "holds dates or times"),
        (["31 Jan 2020", "1 February 2020"], "holds dates or times"),
        (["Jan 31, 2020", "Feb. 1, 2020"], "holds dates or times"),
        (["12:30", "13:00"], "holds dates or times"),
        (["2020-01", "2020-02"], "holds dates or times"),
        (["gull", "gull"], 'is constant ("gull")'),
        (["10-19", "20-29"], None),  # classes of age
        (["may", "june"], None),
    ],
)
def test_dates_and_a_single_class_are_no_label(tmp_path: Path, words: list[str], why: str | None) -> None:
    values = np.random.default_rng(3).normal(size=60)
    rows = "\n".join(f'"{words[n % 2]}",{value:.3f}' for n, value in enumerate(values))
    draft = draft_of(write(tmp_path, f"d,length\n{rows}\n"))
    assert (draft.label, draft.left_out) == (("d", {}) if why is None else (None, {"d": why}))
    assert draft.columns == ["length"]


@pytest.mark.parametrize(("rows", "family"), [(400, "full"), (70, "diagonal"), (62, "spherical"), (5, "spherical")])
def test_few_rows_in_many_columns_get_a_family_of_few_parameters(tmp_path: Path, rows: int, family: str) -> None:
    """Two full components in five columns have 41 parameters and diagonal ones 21: three rows are due for each."""
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(rows, 5)))
    assert draft_of(tmp_path / "x.npy").family == family


def test_the_config_can_be_read_and_says_what_was_found(tmp_path: Path) -> None:
    data = write(tmp_path, birds(missing=2))
    text = toml_of(draft_of(data), "birds.csv", "birds.toml")
    experiment = read_experiment(write(tmp_path, text, "birds.toml"))
    train, _ = experiment.data.load(0, tmp_path)
    assert (train.columns, len(train.x), train.dropped) == (("length", "mass"), 58, 2)
    assert '# 2 rows with missing cells ("mass" 2): "drop" leaves them out, 58 stay;\n' in text
    # One line to change: a second, commented one would be uncommented beside the first, which is no TOML.
    assert [line for line in text.splitlines() if "missing =" in line] == ['missing = "drop"']
    assert '# not fitted: "year" is constant (2020)' in text
    experiment.check(experiment.problem(train))


def test_names_that_need_quotes_are_quoted(tmp_path: Path) -> None:
    name = 'le"ng\\th\x7f'
    data = write(tmp_path, f'"{name.replace(chr(34), chr(34) * 2)}",b\n1.5,2\n2.5,4\n3.5,3\n1.0,7\n')
    text = toml_of(draft_of(data), "birds.csv", "birds.toml")
    assert tomllib.loads(text)["data"]["columns"] == [name, "b"]


def test_a_table_without_numbers_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column can be fitted \('u' is constant \(1\)\)"):
        draft_of(write(tmp_path, "u,v\n1,a\n1,b\n1,c\n"))


def test_the_command_writes_a_config_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", birds().replace(",", "\t"), "birds.tsv")
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["init", *words], prog_name="workbench", catch_exceptions=False)
        return result.exit_code, result.stderr

    assert command("deep/birds.tsv") == (0, "")
    experiment = read_experiment(tmp_path / "birds.toml")
    assert experiment.data.file == "deep/birds.tsv"
    assert experiment.data.load(0, tmp_path)[0].x.shape == (60, 2)
    status, message = command("deep/birds.tsv")
    assert (status, "birds.toml: exists; give another --out, or --force" in message) == (2, True)
    assert command("deep/birds.tsv", "--force")[0] == 0


def test_columns_that_would_cost_all_rows_or_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    rows = [f"{n}.5;{n},25;{'' if n else 1};{'inf' if n == 3 else n * n}" for n in range(8)]
    draft = draft_of(write(tmp_path, "\n".join(["a;b;c;d", *rows])))
    assert draft.columns == ["a"]
    assert draft.left_out == {
        "b": 'holds numbers with separators, as "0,25"; write decimals with a point, thousands without a mark',
        "c": "is missing in 7 of 8 rows",
        "d": "holds infinite numbers",
    }


def test_few_whole_numbers_are_classes_and_no_measure(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    lines = [f"{n % 3},{value:.2f},{n % 2}" for n, value in enumerate(rng.normal(size=100))]
    draft = draft_of(write(tmp_path, "\n".join(["kind,length,sex", *lines])))
    assert (draft.columns, draft.label, draft.classes) == (["length"], "kind", ["0", "1", "2"])
    assert draft.left_out == {"sex": "has 2 different values, all whole: a class rather than a measure"}


@pytest.mark.parametrize("codes", [("0", "1", "2"), ("amy", "bea", "zoe")], ids=["numbers", "names"])
@pytest.mark.parametrize("share", [3, 10])
def test_classes_of_some_rows_are_offered_as_known_components(
    codes: tuple[str, ...], share: int, tmp_path: Path
) -> None:
    values = np.random.default_rng(4).normal(size=120)
    # With a share of 3 in 10, most rows have none; with all but one, few are different.
    cells = [codes[n % 3] if n % 10 < share and n != 7 else "NA" for n in range(120)]
    path = write(tmp_path, "\n".join(["who,length", *map(",".join, zip(cells, map(str, values), strict=True))]))
    draft = draft_of(path)
    assert draft.partly is not None and draft.partly.classes == list(codes)
    assert (draft.columns, draft.label, draft.left_out, draft.incomplete) == (["length"], None, {}, 0)
    text = toml_of(draft, path.name, "birds.toml")
    known = sum(cell != "NA" for cell in cells)
    assert (
        f'# label_known = "who"  # {known} of 120 rows name one of 3 classes: known components ("{codes[0]}" is' in text
    )
    taken = text.replace("# label_known", "label_known").replace("components = 2", "components = 3")
    experiment = read_experiment(write(tmp_path, taken, "birds.toml"))
    problem = experiment.problem(experiment.data.load(0, tmp_path)[0])
    assert problem.known is not None and problem.known.num_rows == known


def test_codes_that_do_not_count_from_0_are_no_known_components(tmp_path: Path) -> None:
    lines = [f"{n % 2 + 1 if n % 4 else ''},{n * n % 7}.5" for n in range(120)]
    draft = draft_of(write(tmp_path, "\n".join(["sex,length", *lines])))
    assert draft.partly is None
    assert draft.left_out == {"sex": "has 2 different values, all whole: a class rather than a measure"}


def test_a_column_without_a_name_is_no_measure(tmp_path: Path) -> None:
    rows = [f"{n};{n},25;{(n * n) % 7},5" for n in range(8)]
    draft = draft_of(write(tmp_path, "\n".join([";a;b", *rows])))
    assert (draft.columns, draft.identity, draft.row_names) == (["a", "b"], None, True)
    assert "# The first column, which has no name, names the rows" in toml_of(draft, "birds.csv", "birds.toml")


def test_a_parquet_file_is_looked_at_as_a_table(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"tag": [f"B{n}" for n in range(40)], "kind": ["gull", "tern"] * 20, "mass": rng.normal(size=40)}
    )
    frame.loc[3, "mass"] = np.nan
    frame.to_parquet(tmp_path / "birds.parquet")
    draft = draft_of(tmp_path / "birds.parquet")
    assert (draft.columns, draft.identity, draft.label, draft.missing) == (["mass"], "tag", "kind", {"mass": 1})
    text = toml_of(draft, "birds.parquet", "birds.toml")
    train, _ = read_experiment(write(tmp_path, text, "birds.toml")).data.load(0, tmp_path)
    assert train.x.shape == (39, 1) and train.ids is not None and train.ids[3] == "B4"


def test_a_column_of_counts_is_named_as_possible_weights(tmp_path: Path) -> None:
    path = write(tmp_path, "length,Count\n1.5,4\n2.5,11\n3.5,7\n")
    assert '# weights = "Count"  # if it says how many' in toml_of(draft_of(path), "x.csv", "x.toml")
    path = write(tmp_path, "length,width\n1.5,4\n2.5,11\n3.5,7\n")
    assert '# weights = "count"  # a column that says how many' in toml_of(draft_of(path), "x.csv", "x.toml")


@pytest.mark.parametrize(
    ("name", "numbers", "proposed"),
    [
        ("n", [1, 2, 3], True),
        ("Freq", range(1, 12), True),
        ("count", range(5, 40), True),
        ("weight", range(40, 90), False),  # in kilograms
        ("weights", [0.5, 1.5], False),
        ("size", [1, 2, 3], False),
    ],
)
def test_counts_of_rows_are_neither_label_nor_fitted(
    tmp_path: Path, name: str, numbers: Sequence[float], proposed: bool
) -> None:
    values = np.random.default_rng(3).normal(size=60)
    rows = "\n".join(f"{value:.3f},{numbers[n % len(numbers)]}" for n, value in enumerate(values))
    draft = draft_of(write(tmp_path, f"length,{name}\n{rows}\n"))
    assert draft.weights == (name if proposed else None)
    if proposed:
        assert (draft.columns, draft.label) == (["length"], None)
        text = toml_of(draft, "x.csv", "x.toml")
        assert f'# not fitted: "{name}" seems to say how often each row counts; see weights below' in text
        assert f'# weights = "{name}"  # if it says how many' in text


def test_counts_are_fitted_where_there_is_nothing_else(tmp_path: Path) -> None:
    rows = "\n".join(f"w{n},{1 + n % 7}" for n in range(60))
    draft = draft_of(write(tmp_path, f"name,count\n{rows}\n"))
    assert (draft.columns, draft.weights, draft.left_out) == (["count"], None, {})


def test_numbers_with_separators_are_no_ids(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(50000, 9000, size=(60, 2))
    rows = "\n".join(f'"{1e6 + a:,.0f}","{b:,.1f}"' for a, b in values.tolist())
    draft = draft_of(write(tmp_path, f"a,b\n{rows}\n"))
    assert (draft.identity, draft.columns) == (None, ["b"])
    assert draft.left_out["a"].endswith("; write decimals with a point, thousands without a mark")


def test_a_few_known_classes_are_told_apart_from_a_label(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=60)
    classes = {3: "u", 9: "v"}
    rows = "\n".join(f"{value:.3f},{classes.get(n, '')},{'pq'[n % 2]}" for n, value in enumerate(values))
    draft = draft_of(write(tmp_path, f"length,seen,kind\n{rows}\n"))
    assert draft.label == "kind"
    assert draft.left_out["seen"] == (
        "is text, and empty in 58 of 60 rows; label_known is the key for components that are known of some rows"
    )


def test_a_column_of_numbers_with_one_bad_cell_is_no_id(tmp_path: Path) -> None:
    lines = ["tag,length,mass", *(f"B{n},{n + 0.5},{n * n}.25" for n in range(12))]
    lines[4] = lines[4].replace("3.5", "3.5cm")
    draft = draft_of(write(tmp_path, "\n".join(lines)))
    assert (draft.identity, draft.columns) == ("tag", ["mass"])
    assert draft.left_out == {"length": 'has numbers but in data row 4 ("3.5cm"); correct it to fit the column'}
    # Words beside a few numbers are words.
    rows = "\n".join(f"{'12' if n < 3 else f'a{n}'},{n}.5" for n in range(12))
    assert draft_of(write(tmp_path, "code,length\n" + rows)).left_out == {"code": "is text"}


def test_a_file_without_rows_is_told(tmp_path: Path) -> None:
    pd.DataFrame({"a": np.zeros(0), "b": np.zeros(0)}).to_parquet(tmp_path / "empty.parquet")
    with pytest.raises(InputError, match=r"empty\.parquet: has columns but no rows; give at least 2"):
        draft_of(tmp_path / "empty.parquet")
    np.save(tmp_path / "one.npy", np.ones((1, 2)))
    for path in (write(tmp_path, "a,b\n1,2"), tmp_path / "one.npy"):
        with pytest.raises(InputError, match="has only one row; give at least 2"):
            draft_of(path)


def test_a_config_of_too_long_a_name_is_one_message(tmp_path: Path) -> None:
    data, out = write(tmp_path, birds()), tmp_path / ("n" * 300)
    result = CliRunner().invoke(cli, ["init", str(data), "--out", str(out)], prog_name="workbench")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "cannot be written (File name too long); give another --out" in result.stderr


def waits(piled: int, of_next: int = 8, others: int = 271) -> str:
    """A column in which 73 is in so many rows, 54 in others, and every other value in two rows at most."""
    values = [73.5] * piled + [54.25] * of_next + [100 + n // 2 + 0.125 for n in range(others)]
    return "\n".join(["wait,length", *(f"{value},{n / 7:.4f}" for n, value in enumerate(values))])


def test_a_value_that_is_piled_up_is_a_comment_with_the_facts(tmp_path: Path) -> None:
    data = write(tmp_path, waits(21), "waits.csv")
    text = toml_of(draft_of(data), "waits.csv", "waits.toml")
    (line,) = [line for line in text.splitlines() if "pull at a fit" in line]
    assert line == (
        '# "wait": 73.5 is in 21 of 300 rows, the next most frequent value in 8; '
        "equal values pull at a fit: is the column rounded or clipped?"
    )
    assert read_experiment(write(tmp_path, text, "waits.toml")).data.columns == ("wait", "length")


@pytest.mark.parametrize(
    ("piled", "of_next", "others", "stands_out"),
    [
        (10, 2, 290, True),
        (9, 2, 200, False),  # fewer than ten rows, though more than 3 % of them
        (10, 2, 330, False),  # ten rows, less than 3 % of them
        (30, 20, 250, True),
        (29, 20, 250, False),  # less than 1.5 times as often as the next
    ],
)
def test_a_value_is_piled_up_only_if_it_stands_out(
    tmp_path: Path, piled: int, of_next: int, others: int, stands_out: bool
) -> None:
    draft = draft_of(write(tmp_path, waits(piled, of_next, others)))
    assert draft.piles == ({"wait": (73.5, piled, of_next)} if stands_out else {})
    assert ("pull at a fit" in toml_of(draft, "waits.csv", "waits.toml")) is stands_out


def test_arrays_beside_the_points_are_named(tmp_path: Path) -> None:
    x = np.random.default_rng(1).normal(size=(60, 2))
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(60) % 3, z=x)
    text = toml_of(draft_of(tmp_path / "x.npz"), "x.npz", "x.toml")
    assert '# not fitted: "y" is another array, [60]; label = "y" reads it as classes\n' in text
    assert '# not fitted: "z" is another array, [60, 2]\n' in text


def test_a_pile_is_counted_without_missing_cells_and_in_arrays_too(tmp_path: Path) -> None:
    few = "\n".join(["x,y", *(f"{'NA' if n < 40 else 5 if n < 60 else n},{n * n}" for n in range(100))])
    assert draft_of(write(tmp_path, few)).piles == {"x": (5.0, 20, 1)}
    x = np.random.default_rng(0).normal(size=(100, 2))
    x[:20, 1] = 0.0
    np.save(tmp_path / "x.npy", x)
    assert list(draft_of(tmp_path / "x.npy").piles.values()) == [(0.0, 20, 1)]


def test_characters_that_nobody_sees_are_escaped(tmp_path: Path) -> None:
    """Such as one that turns the direction of what follows, or that ends a line for some readers."""
    hidden = ("a\u202eb", "zero\u200bwidth", "\x7f\x1b[31m", "a\u2028b", "Länge \U000e0041")
    x = np.random.default_rng(0).normal(size=(30, len(hidden)))
    pd.DataFrame(x, columns=list(hidden)).to_csv(tmp_path / "a.csv", index=False)
    text = toml_of(draft_of(tmp_path / "a.csv"), "a.csv", "a.toml")
    assert all(line.isprintable() for line in text.split("\n"))
    assert tuple(tomllib.loads(text)["data"]["columns"]) == hidden

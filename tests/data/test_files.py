"""Reading a user's file gives exactly its numbers, or one message that says what to do."""

import contextlib
import hashlib
import io
import os
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from workbench.data import Wanted, load_dataset, read_file, read_rows
from workbench.data.catalogue import sets
from workbench.data.reading import WantedOfConfig
from workbench.errors import InputError

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


def refusal(path: Path, columns: list[str] | None = None, label: str | None = None) -> str:
    """The error message, without the file name with which it must start."""
    with pytest.raises(InputError) as caught:
        read_file(path, columns, label)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def npy(array: ArrayLike, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=allow_pickle)
    return buffer.getvalue()


def npz(**arrays: ArrayLike) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=True, **{name: np.asarray(a) for name, a in arrays.items()})
    return buffer.getvalue()


# --- CSV ------------------------------------------------------------------------------------------------

cells = st.floats(allow_nan=False, allow_infinity=False)
tables = st.integers(1, 4).flatmap(
    lambda d: st.lists(st.lists(cells, min_size=d, max_size=d), min_size=2, max_size=8).filter(
        lambda rows: all(len(set(column)) > 1 for column in zip(*rows, strict=True))
    )
)


@settings(deadline=None)  # touches the disk
@given(tables, st.sampled_from(",;\t"), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_csv_gives_back_every_number_exactly(
    rows: list[list[float]], separator: str, newline: str, mark: bool, last: bool
) -> None:
    header = [f"column {d}" for d in range(len(rows[0]))]
    lines = [separator.join(header), *(separator.join(map(repr, row)) for row in rows)]
    text = newline.join(lines) + newline * last
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.csv"
        path.write_bytes(text.encode("utf-8-sig" if mark else "utf-8"))
        data = read_file(path)
    assert data.columns == tuple(header)
    np.testing.assert_array_equal(data.x, np.array(rows))


def test_csv_of_the_catalogue_reads_as_the_catalogue(write: Write) -> None:
    path = write("iris.CSV", sets().joinpath("iris.csv").read_bytes())
    data, published = read_file(path, label="species"), load_dataset("iris")
    np.testing.assert_array_equal(data.x, published.x)
    assert data.labels is not None and published.labels is not None
    np.testing.assert_array_equal(data.labels, published.labels)
    assert (data.name, data.columns) == ("iris", published.columns)


def test_source_names_the_file_and_its_sha256(write: Write) -> None:
    path = write("a.csv", "u\n1\n2\n")
    assert read_file(path).source == f"a.csv, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_columns_are_used_in_the_order_given_and_the_rest_is_not_read(write: Write) -> None:
    path = write("a.csv", "u,what,v\n1,NA,2\n3,text,5\n")
    data = read_file(path, columns=["v", "u"])
    np.testing.assert_array_equal(data.x, [[2.0, 1.0], [5.0, 3.0]])
    assert data.columns == ("v", "u") and data.labels is None


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_line_may_be_longer_than_the_longest_cell_of_the_module(write: Write, separator: str) -> None:
    names = [f"GENE_{place}" for place in range(20_000)]
    lines = [names, *([f"{row + place}" for place in range(len(names))] for row in range(3))]
    path = write("genes.csv", "\n".join(separator.join(line) for line in lines) + "\n")
    data = read_file(path)
    assert data.columns == tuple(names)
    np.testing.assert_array_equal(data.x[1], np.arange(1.0, 20_001.0))


def test_quoted_names_may_hold_the_separator(write: Write) -> None:
    assert read_file(write("a.csv", '"a, b";"c"\n1;2\n3;4\n')).columns == ("a, b", "c")


def test_spaces_around_cells_and_blank_lines_around_the_table_are_skipped(write: Write) -> None:
    data = read_file(write("a.csv", "\n u , v , g\n 1 , 2 , p \n3,4,q\n\n\n"), label="g")
    assert data.columns == ("u", "v") and data.labels is not None and data.labels.tolist() == ["p", "q"]
    np.testing.assert_array_equal(data.x, [[1.0, 2.0], [3.0, 4.0]])


def test_duplicate_rows_of_a_file_stay(write: Write) -> None:
    assert len(read_file(write("a.csv", "u\n1\n1\n2\n")).x) == 3


@pytest.mark.parametrize("cell", ["", " ", "NA", "nan", "NaN", "null", "None", "?", ".", "-", "#N/A"])
def test_a_missing_cell_is_named_by_row_and_column(write: Write, cell: str) -> None:
    message = refusal(write("a.csv", f"u,v\n1,2\n3,{cell}\n"))
    assert message.startswith(f"data row 2, column 'v' is missing ({cell.strip()!r})")
    assert (
        'fill it in, leave the row out with missing="drop", let its other cells count' in message
        and "columns=[...]" in message
    )


def test_all_missing_cells_are_one_message(write: Write) -> None:
    rows = "".join(f"{'' if n % 2 else n},{n * n if n else 'NA'},x{n}\n" for n in range(8))
    message = refusal(write("a.csv", f"u,v,w\n{rows}"), columns=["u", "v"])
    assert message == (
        "5 cells in 5 rows are missing ('u' 4, 'v' 1): data row 1, column 'v' is 'NA'; data row 2, column 'u' is ''; "
        "data row 4, column 'u' is ''; 2 more; fill them in, leave the rows out with missing=\"drop\", "
        'let their other cells count with missing="marginal", or choose columns with columns=[...]'
    )


def test_cells_that_are_missing_and_cells_that_are_no_numbers_are_told_together(write: Write) -> None:
    lines = refusal(write("a.csv", "u,v\n1,\n3,high\n5,low\n6,1\n")).split("\n")
    assert lines[0].startswith("data row 1, column 'v' is missing (''); fill it in")
    assert lines[1].startswith("  2 cells in 2 rows are not numbers ('v' 2): data row 2, column 'v' is 'high'")


def test_all_that_is_wrong_with_the_cells_of_a_file_is_one_message(write: Write) -> None:
    rows = "".join(f"{n},{'' if n == 3 else n * n},{'x' if n == 5 else n},{'inf' if n == 7 else n % 4},2020,"
                   f"{'' if n in (2, 4) else 'g'}\n" for n in range(9))  # fmt: skip
    path = write("a.csv", f"u,v,w,z,year,kind\n{rows}")
    lines = refusal(path, label="kind").split(";\n  ")
    assert [line.split(",")[0].split(" (")[0] for line in lines] == [
        "data row 4", "data row 6", "data row 8", "label column 'kind' is empty in 2 rows", "column 'year' is constant",
    ]  # fmt: skip
    assert "(data rows 3, 5); fill them in" in lines[3]
    # For labels of a model that is there already, a constant column is no mistake.
    with pytest.raises(InputError) as caught:
        read_rows(path, Wanted(["u", "v", "year"]))
    assert "constant" not in str(caught.value)


def test_all_that_is_wrong_with_the_shape_of_a_table_is_one_message(write: Write) -> None:
    lines = refusal(write("a.csv", "u,,v,,u,v\n1,2,3,4,5,6\n1,2\n3\n4\n5,6\n")).split(";\n  ")
    assert lines == [
        "columns 2, 4 of the header have no names; name them",
        "the header names columns 'u', 'v' twice; give each its own name",
        "data row 2 has 2 cells, data row 3 has 1 cells, data row 4 has 1 cells but the header has 6 (4 such rows); "
        "give every row one cell for each column",
    ]


def test_all_unknown_columns_and_all_constant_ones_are_one_message(write: Write) -> None:
    path = write("a.csv", "length,mass,u,v\n1,2,7,8\n3,4,7,8\n")
    message = refusal(path, columns=["lenght", "mas", "zz"])
    assert message.startswith("unknown columns 'lenght' (did you mean 'length'?), 'mas' (did you mean 'mass'?), 'zz'. ")
    assert refusal(path) == "columns 'u' (7), 'v' (8) are constant, so their variances are 0; drop them"


@pytest.mark.parametrize("header", [",u,v", '"","u","v"', ";u;v", "Unnamed: 0,u,v"])
def test_a_first_column_without_a_name_holds_the_ids_of_the_rows(write: Write, header: str) -> None:
    separator = next(mark for mark in ",;" if mark in header)
    lines = [header, *(separator.join(row) for row in (["a", "1", "2"], ["b", "3", "5"], ["", "4", "4"]))]
    data = read_file(write("a.csv", "\n".join(lines)))
    assert data.columns == ("u", "v") and data.ids is not None and data.ids.tolist() == ["a", "b", ""]
    np.testing.assert_array_equal(data.x, [[1.0, 2.0], [3.0, 5.0], [4.0, 4.0]])


def test_a_separator_at_the_end_of_every_line_makes_no_column(write: Write) -> None:
    assert read_file(write("a.csv", "u,v,\n1,2,\n3,4,\n")).columns == ("u", "v")
    assert "column 3 of the header has no name" in refusal(write("b.csv", "u,v,\n1,2,\n3,4,5\n"))


def test_names_that_are_numbers_are_names_beside_row_numbers(write: Write) -> None:
    assert read_file(write("a.csv", ",0,1\n0,1.5,2\n1,3,4\n")).columns == ("0", "1")


@pytest.mark.parametrize("cell", ["high", "1.5e", "1_000", "0x10", "12%"])
def test_a_cell_that_is_not_a_number_is_named_with_both_remedies(write: Write, cell: str) -> None:
    message = refusal(write("a.csv", f"u,v\n1,2\n3,{cell}\n"))
    assert message.startswith(f"data row 2, column 'v' is {cell!r}, not a number")
    assert "columns=[...]" in message and 'label="v"' in message


def test_a_column_of_names_is_no_column_of_groups(write: Write) -> None:
    lines = [f"b{n},{n % 2},{n}.5" for n in range(20)]
    lines[3] = lines[2]  # one name stands twice
    message = refusal(write("a.csv", "\n".join(["tag,u,v", *lines])))
    assert message.endswith('name the columns to use with columns=[...] or the names of the rows with identity="tag"')


def test_missing_cells_of_an_array_may_be_marginalised(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, 1.0]]))
    with pytest.raises(InputError, match=r'let its other cells count with missing="marginal"$'):
        read_file(tmp_path / "a.npy")
    assert read_file(tmp_path / "a.npy", missing="marginal").missing == "marginal"


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("header", ["u{0}v", "u, cm{0}v, kg"])
def test_decimal_commas_are_read_where_commas_do_not_separate_cells(write: Write, separator: str, header: str) -> None:
    text = "{1}\n3,14{0}2\n-0,5{0}?\n,25{0}1,5e-3\n".replace("{1}", header).replace("{0}", separator)
    data = read_file(write("a.csv", text), wanted=Wanted(missing="drop"))
    np.testing.assert_array_equal(data.x, [[3.14, 2.0], [0.25, 0.0015]])
    assert data.columns == tuple(header.replace("{0}", "|").split("|"))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("u;v\n1,5;2.5\n3;4\n", "1,5"),  # points and commas: which are decimals?
        ("u\tv\n1,234\t2\n3\t4\n", "1,234"),  # a thousand, or a decimal
        ("u;v\n1,234,567;2\n3;4\n", "1,234,567"),
        ('u,v\n"1,5",2\n3,4\n', "1,5"),
    ],
)
def test_commas_that_may_be_no_decimals_are_not_guessed(write: Write, text: str, cell: str) -> None:
    message = refusal(write("a.csv", text))
    assert f"column 'u' is '{cell}', not a number;" in message
    assert "write decimals with a point" in message or cell.count(",") > 1


def test_quoted_decimal_commas_are_read_where_commas_separate_cells(write: Write) -> None:
    text = 'kind,u,v,n\na,"1,5","-2,75",1\nb,"3,125","4",2\nb,"-0,5","1,5e1",4\n'
    data = read_file(write("a.csv", text), label="kind")
    np.testing.assert_array_equal(data.x, [[1.5, -2.75, 1.0], [3.125, 4.0, 2.0], [-0.5, 15.0, 4.0]])


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('u,v\n"1,5","2"\n"1,25","0.7"\n', "other numbers have decimal points; write decimals with a point"),
        (
            'u,v\n"1,500","2"\n"1,250","3"\n',
            "may mark decimals or thousands; write decimals with a point and thousands",
        ),
        ("u,v\n1,5,2,7\n1,25,3,8\n", "cell for each column, and numbers with decimal commas quotes or semicolons"),
    ],
)
def test_what_was_seen_of_ambiguous_commas_is_said(write: Write, text: str, remedy: str) -> None:
    assert remedy in refusal(write("a.csv", text))
    assert "decimal" not in refusal(write("b.csv", "u,v\n1,2\n3\n"))


def test_commas_mark_thousands_where_a_point_marks_decimals(write: Write) -> None:
    x = read_file(write("a.csv", 'u,v\n"34,600.0",1\n"-1,234,567.5",2\n600.25,3\n')).x
    np.testing.assert_array_equal(x[:, 0], [34600.0, -1234567.5, 600.25])


@pytest.mark.parametrize("cells", [["34,600", "35,700", "1,800"], ["1,234,567", "2,345,678"], ["34.600,5", "1.200,5"]])
def test_a_column_of_numbers_with_separators_names_no_rows(write: Write, cells: list[str]) -> None:
    rows = "\n".join(f"{cell};{place}.5;word {place}" for place, cell in enumerate(cells * 3))
    message = refusal(write("a.csv", f"a;b;c\n{rows}\n"))
    assert "write decimals with a point and thousands without a mark, or name" in message
    assert message.endswith('with columns=[...] or the names of the rows with identity="c"')


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("sep=;\na;b\n1;2\n3;5\n", ("a", "b")),
        ('"sep=|"\r\na|b\r\n1|2\r\n3|5\r\n', ("a", "b")),
        ("a|b\n1|2\n3|5\n", ("a", "b")),
        ("# from a counter\n# in 2020\n\na,b\n1,2\n3,5\n", ("a", "b")),
        ("#,b\n1,2\n3,5\n", ("#", "b")),
        ("# a\n1\n3\n", ("# a",)),
    ],
)
def test_separators_are_read_and_comments_above_the_header_skipped(
    write: Write, text: str, columns: tuple[str, ...]
) -> None:
    data = read_file(write("a.csv", text))
    assert data.columns == columns
    np.testing.assert_array_equal(data.x, [[1.0, 2.0], [3.0, 5.0]] if len(columns) > 1 else [[1.0], [3.0]])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "# by us, in 2020, twice\na,b\n1,2\n3,5\n", "first line begins with #; remove it if it is a comment"),
        ("a.csv", "a b\n1 2\n3 5\n", "cells seem to be separated by spaces, 2 in each line; write commas"),
        ("a.txt", "a b\n1 2\n3 5\n", "can be renamed to .csv"),
    ],
)
def test_what_was_seen_of_other_text_is_said(write: Write, name: str, text: str, message: str) -> None:
    assert message in refusal(write(name, text))


@pytest.mark.parametrize("other", ["label", "identity", "label_known"])
def test_weights_are_a_column_of_their_own(write: Write, other: str) -> None:
    path = write("a.csv", "a,n\n1,2\n3,1\n")
    with pytest.raises(InputError, match=f"weights: column 'n' is also {other}, and weights say how often"):
        read_file(path, wanted=Wanted(weights="n", **{other: "n"}))  # type: ignore[arg-type]


def test_a_file_of_one_column_may_have_decimal_commas(write: Write) -> None:
    np.testing.assert_array_equal(read_file(write("a.csv", "u\n72,5\n70,25\n71\n")).x, [[72.5], [70.25], [71.0]])
    np.testing.assert_array_equal(read_file(write("b.csv", "u\n72.5\n70\n")).x, [[72.5], [70.0]])
    assert "may mark decimals or thousands" in refusal(write("c.csv", "u\n1,234\n2,345\n"))


def test_words_with_commas_leave_numbers_as_they_are(write: Write) -> None:
    data = read_file(write("a.csv", "u;g\n1.5;1,5\n3.5;x, y\n4.5;z\n"), label="g")
    assert data.x.tolist() == [[1.5], [3.5], [4.5]]


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("", ["is empty", "give a header row"]),
        ("\n\n", ["is empty", "give a header row"]),
        ("u,v\n", ["a header but no rows", "give data rows, at least 2 for a fit"]),
        ("u,v\n1,2\n", ["only one row", "give at least 2"]),
        ("1,2\n3,4\n5,7\n", ["first row (1, 2) holds only numbers", "header is missing", "add a first row"]),
        ("u,v\n1,2\n3\n", ["data row 2 has 1 cells but the header has 2", "give every row one cell"]),
        ("u,v\n1,2,3\n4,5\n", ["data row 1 has 3 cells but the header has 2", "give every row one cell"]),
        ("u,v\n1,2\n\n4,5\n", ["data row 2 has 0 cells but the header has 2"]),
        ("u,,v\n1,2,3\n4,5,6\n", ["column 2 of the header has no name", "name it"]),
        (",,v\n1,2,3\n4,5,6\n", ["column 2 of the header has no name", "name it"]),
        ("u,u\n1,2\n3,4\n", ["names column 'u' twice", "its own name"]),
        ('u,v\n1,"2\n3,4\n', ["not a readable CSV file", "check its quotes"]),
        ("u,v\n1,2\n3,inf\n", ["data row 2, column 'v' is inf", "remove the row"]),
        ("u,v\n1,2\n3,2\n", ["column 'v' is constant (2)", "drop it"]),
    ],
)
def test_a_malformed_csv_is_refused(write: Write, text: str, fragments: list[str]) -> None:
    message = refusal(write("a.csv", text))
    assert all(fragment in message for fragment in fragments), message


@pytest.mark.parametrize(
    ("columns", "label", "fragments"),
    [
        (["uu"], None, ["unknown column 'uu'. Did you mean 'u'? Allowed: u, v, group"]),
        (None, "groop", ["label: unknown column 'groop'. Did you mean 'group'? Allowed: u, v, group"]),
        (["u", "u"], None, ["column 'u' appears twice"]),
        ([], None, ["columns is empty"]),
        (["u", "v"], "v", ["column 'v' is both label and in columns"]),
        (None, "group", ["data row 2, label column 'group' is empty; fill it in"]),
    ],
)
def test_wrong_columns_and_labels_of_a_csv_are_refused(
    write: Write, columns: list[str] | None, label: str | None, fragments: list[str]
) -> None:
    message = refusal(write("a.csv", "u,v,group\n1,2,a\n3,4,\n"), columns, label)
    assert all(fragment in message for fragment in fragments), message


def test_a_label_alone_leaves_no_columns(write: Write) -> None:
    assert "leave no column to fit" in refusal(write("a.csv", "g\na\nb\n"), label="g")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_csv_that_is_not_utf8_is_refused(write: Write, encoding: str) -> None:
    message = refusal(write("a.csv", "größe\n1\n2\n".encode(encoding)))
    assert "is not UTF-8; save the file as UTF-8" in message


# --- what is a file at all ------------------------------------------------------------------------------


def test_what_is_not_a_readable_file_is_refused_with_what_is_allowed(tmp_path: Path, write: Write) -> None:
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    for path, fragment in [
        (tmp_path / "absent.csv", "no such file"),
        (folder, "is a directory"),
        (write("a.xls", b""), "suffix '.xls' is not read"),
        (write("a", b""), "suffix '' is not read"),
    ]:
        message = refusal(path)
        assert fragment in message and "give a .csv, .tsv, .npy, .npz, .parquet or .xlsx file" in message


def test_a_file_that_the_system_refuses_to_open_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(_: Path) -> bytes:
        raise PermissionError(13, os.strerror(13))

    path = write("a.csv", "u\n1\n2\n")
    monkeypatch.setattr(Path, "read_bytes", deny)
    assert refusal(path).startswith(f"cannot be read ({os.strerror(13)})")


# --- NumPy ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32", "float64", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_gives_back_every_number_as_float64(write: Write, dtype: str, order: Literal["C", "F"]) -> None:
    array = np.array(np.arange(6).reshape(3, 2), dtype=dtype, order=order)
    data = read_file(write("a.npy", npy(array)))
    np.testing.assert_array_equal(data.x, array)
    assert data.x.dtype == np.float64 and data.columns == ("x1", "x2") and data.name == "a"


def test_npy_with_one_axis_is_one_column(write: Write) -> None:
    assert read_file(write("a.npy", npy([3, 4, 5]))).x.shape == (3, 1)


def test_npy_columns_are_numbered_from_one(write: Write) -> None:
    path = write("a.npy", npy(np.arange(6.0).reshape(3, 2)))
    np.testing.assert_array_equal(read_file(path, columns=["x2"]).x, [[1.0], [3.0], [5.0]])
    assert "unknown column 'v'. Allowed: x1, x2" in refusal(path, columns=["v"])


def test_npz_brings_its_columns_and_labels(write: Write) -> None:
    x = np.arange(6.0).reshape(3, 2)
    path = write("a.npz", npz(other=["p", "q", "r"], columns=["u", "v"], labels=[1, 1, 2], x=x))
    data = read_file(path, columns=["v"])
    np.testing.assert_array_equal(data.x, x[:, 1:])
    assert data.columns == ("v",) and data.labels is not None and data.labels.tolist() == ["1", "1", "2"]
    assert data.notes == "Arrays of the file that are not read: other."
    other = read_file(path, label="other")
    assert other.labels is not None and other.labels.tolist() == ["p", "q", "r"] and other.notes == ""


def test_npz_with_a_single_array_needs_no_name(write: Write) -> None:
    data = read_file(write("a.npz", npz(anything=np.arange(4))))
    np.testing.assert_array_equal(data.x, [[0.0], [1.0], [2.0], [3.0]])
    assert data.labels is None


@pytest.mark.parametrize(
    ("array", "fragments"),
    [
        (np.array([1.0, None]), ["not a readable NumPy file", "Object arrays", "not objects"]),
        (np.array(["a", "b"]), ["dtype is <U1", "give integers or floats"]),
        (np.array([1j, 2j]), ["dtype is complex128", "give integers or floats"]),
        (np.zeros((2, 2, 2)), ["shape is (2, 2, 2)", "give [N, D]"]),
        (np.zeros(()), ["shape is ()", "give [N, D]"]),
        (np.array([1.0, np.nan]), ["data row 2, column 'x1' is nan", "remove the row"]),
        (np.zeros((0, 2)), ["no rows"]),
        (np.zeros((3, 0)), ["no columns"]),
    ],
)
def test_an_array_that_is_not_points_is_refused(write: Write, array: ArrayLike, fragments: list[str]) -> None:
    message = refusal(write("a.npy", npy(array, allow_pickle=True)))
    assert all(fragment in message for fragment in fragments), message


@pytest.mark.parametrize(
    ("content", "label", "fragments"),
    [
        (npz(a=[1, 2], b=[3, 4]), None, ["holds a, b", "name the array of points 'x'"]),
        (npz(), None, ["holds no array", "name the array of points 'x'"]),
        (npz(x=[1, 2]), "lbl", ["label: unknown array 'lbl'", "Allowed: x"]),
        (npz(x=[1, 2], labels=["a"]), None, ["array 'labels' is <U1 (1,)", "shape (2,)"]),
        (npz(x=[1, 2], columns=["u", "v"]), None, ["array 'columns' is <U1 (2,)", "shape (1,)"]),
        (npz(x=[[1, 2], [3, 4]], columns=["u", "u"]), None, ["column 'u' appears twice"]),
        (npz(x=[1, 2], labels=[b"a", b"b"]), None, ["array 'labels' is |S1 (2,)", "give text or numbers"]),
        (npz(x=["a", "b"]), None, ["array 'x': dtype is <U1", "give integers or floats"]),
    ],
)
def test_an_archive_that_is_not_points_is_refused(
    write: Write, content: bytes, label: str | None, fragments: list[str]
) -> None:
    message = refusal(write("a.npz", content), label=label)
    assert all(fragment in message for fragment in fragments), message


def test_npy_has_no_labels(write: Write) -> None:
    assert "label='g' needs a .csv or .npz file" in refusal(write("a.npy", npy([1, 2])), label="g")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.npy", b""),
        ("a.npy", b"not an array"),
        ("a.npy", npy(np.arange(9))[:-5]),
        ("a.npy", npy(np.arange(9)).replace(b")", b"(")),
        ("a.npy", npy(np.arange(9)).replace(b"(9,)", b"(9**9,)")),
        ("a.npy", npy(np.arange(9)).replace(b"<i8", b"<q9")),
        ("a.npy", npz(x=[1, 2])),
        ("a.npz", b""),
        ("a.npz", npy([1, 2])),
        ("a.npz", npz(x=np.arange(99))[:-30]),
    ],
)
def test_a_damaged_numpy_file_is_refused(write: Write, name: str, content: bytes) -> None:
    message = refusal(write(name, content))
    assert "not a readable NumPy file" in message and "np.save" in message


def test_an_archive_of_something_else_is_refused(write: Write) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes.txt", "hello")
    assert "dtype is |S5, not numeric" in refusal(write("a.npz", buffer.getvalue()))


@pytest.mark.filterwarnings("ignore:Reading `.npy`")  # NumPy's warning about headers written by Python 2
@settings(deadline=None)
@given(
    st.sampled_from([("a.csv", b"u,v\n1,2\n3,5\n"), ("a.npy", npy([1, 2])), ("a.npz", npz(x=[1, 2]))]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=3),
    st.floats(0, 1),
)
def test_damage_anywhere_is_survived_or_refused(
    file: tuple[str, bytes], damage: list[tuple[float, int]], keep: float
) -> None:
    content = bytearray(file[1])
    for place, value in damage:
        content[int(place * len(content))] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file[0]
        path.write_bytes(content if keep > 0.5 else content[: int(2 * keep * len(content))])
        with contextlib.suppress(InputError):  # anything else is a failure
            data = read_file(path)
            assert data.x.ndim == 2 and np.isfinite(data.x).all()


def test_rows_with_a_missing_cell_are_left_out_on_request(write: Write) -> None:
    path = write("a.csv", "tag,u,v,kind\nr1,1,2,a\nr2,?,3,b\nr3,4,5,\nr4,6,NA,c\nr5,7,9,d\n")
    data = read_file(path, wanted=Wanted(["u", "v"], identity="tag", missing="drop"))
    assert data.x.tolist() == [[1, 2], [4, 5], [7, 9]]
    assert (data.ids is not None and data.ids.tolist(), data.dropped) == (["r1", "r3", "r5"], 2)
    # Without ids, rows keep their places in the file; a label is due in the rows that are left.
    numbered = read_file(path, wanted=Wanted(["u"], missing="drop"))
    assert (numbered.ids is not None and numbered.ids.tolist(), numbered.dropped) == (["1", "3", "4", "5"], 1)
    with pytest.raises(InputError, match="data row 3, label column 'kind' is empty"):
        read_file(path, wanted=Wanted(["u", "v"], "kind", missing="drop"))


def test_what_is_no_number_is_refused_where_missing_cells_are_not(write: Write) -> None:
    with pytest.raises(InputError, match="data row 2, column 'u' is 'much', not a number"):
        read_file(write("a.csv", "u\n1\nmuch\n?\n4\n"), wanted=Wanted(missing="drop"))


def test_nan_in_an_array_counts_as_missing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1.0, 2.0], [np.nan, 3.0], [4.0, 6.0]]))
    data = read_file(tmp_path / "a.npy", wanted=Wanted(missing="drop"))
    assert (data.x.tolist(), data.dropped) == ([[1, 2], [4, 6]], 1)


def test_columns_are_excluded_by_name(write: Write) -> None:
    path = write("a.csv", "tag,u,v,kind\nr1,1,2,a\nr2,2,3,b\n")
    data = read_file(path, wanted=Wanted(label="kind", identity="tag", exclude=["v"]))
    assert data.columns == ("u",)
    for wanted, message in (
        (Wanted(exclude=["w"]), "exclude: unknown column 'w'"),
        (Wanted(identity="w"), "identity: unknown column 'w'"),
        (Wanted(["u", "tag"], identity="tag"), "column 'tag' is both identity and in columns"),
    ):
        with pytest.raises(InputError, match=message):
            read_file(path, wanted=wanted)
    with pytest.raises(InputError, match="columns and exclude: give one of them"):
        Wanted(["u"], exclude=["v"])


def test_ids_need_a_table(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(3, 2))
    with pytest.raises(InputError, match=r"identity='tag' needs a table, as a \.csv file"):
        read_file(tmp_path / "a.npy", wanted=Wanted(identity="tag"))


def test_rows_are_read_however_few(write: Write) -> None:
    path = write("a.csv", "u,v\n1,2\n")
    assert read_rows(path, Wanted()).x.tolist() == [[1, 2]]
    with pytest.raises(InputError, match="only one row"):
        read_file(path)
    with pytest.raises(InputError, match="column 'u' is inf"):
        read_rows(write("b.csv", "u,v\ninf,2\n"), Wanted())


def test_fields_of_a_structured_array_are_columns(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(12, 2))
    rows = np.zeros(12, dtype=[("length", "f8"), ("kind", "U4"), ("width", "f4")])
    rows["length"], rows["width"], rows["kind"] = x[:, 0], x[:, 1], np.repeat(["a", "b"], 6)
    np.save(tmp_path / "birds.npy", rows)
    found = read_file(tmp_path / "birds.npy", label="kind")
    assert found.columns == ("length", "width") and found.labels is not None
    np.testing.assert_array_equal(found.x, np.stack([rows["length"], rows["width"]], axis=1))
    assert found.labels.tolist() == rows["kind"].tolist()
    with pytest.raises(InputError, match=r"unknown column 'breadth'.*Allowed: length, kind, width"):
        read_file(tmp_path / "birds.npy", ["breadth"])


FAULTS = {
    "missing": ("u,v\n1,2\n3,\n", Wanted()),
    "text": ("tag,u\na,1\nb,2\n", Wanted()),
    "unknown": ("u,v\n1,2\n3,4\n", Wanted(identity="w")),
    "both": ("u,v\n1,2\n3,4\n", Wanted(["u", "v"], identity="v")),
    "no column": ("u,v\n1,2\n3,4\n", Wanted(identity="u", exclude=["v"])),
    "weights": ("u,v\n1,2\n3,-4\n", Wanted(weights="v")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_remedies_are_in_the_words_of_who_reads(write: Write, fault: str) -> None:
    text, wanted = FAULTS[fault]
    path = write("a.csv", text)
    with pytest.raises(InputError) as in_python:
        read_file(path, wanted=wanted)
    with pytest.raises(InputError) as in_config:
        read_file(path, wanted=WantedOfConfig(**{field.name: getattr(wanted, field.name) for field in fields(wanted)}))
    told = str(in_python.value)
    assert str(in_config.value) == re.sub(r"(?<=\w)=(?=\S)", " = ", told).replace("identity", "id") != told

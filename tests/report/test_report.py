"""Claims about the report: complete, self-contained, escaped, and the same every time."""

import dataclasses
import re

import matplotlib
import numpy as np
import pytest
from reader import Reader

import workbench as wb
from workbench.compare import Comparison, table
from workbench.posterior import posterior_summary
from workbench.posterior.summary import agreement_table, chain_table, estimate_tables, reading
from workbench.report import figures_of, render, save_figures, write_report
from workbench.report.figures import svg_of, words_on_labels

HOSTILE = '<script>alert("1")</script>'
CONFIG = "seed = 0  # </pre><script>alert(2)</script>"


@pytest.fixture(scope="session")
def comparison(tiny_run) -> Comparison:
    """EM and NUTS of the tiny experiment, one column, with hostile names wherever a user can give one."""
    made = tiny_run[1]
    return dataclasses.replace(
        made,
        traces={"em": made["em"], HOSTILE: made["nuts"]},
        name=HOSTILE,
        columns=(HOSTILE,),
        units=f"{HOSTILE} of a unit",
        failures={"<i>lost</i>": "<b>why</b>"},
    )


@pytest.fixture(scope="session")
def plain(comparison) -> Comparison:
    return dataclasses.replace(comparison, name="plain", traces={"em": comparison["em"]}, columns=(), failures={})


@pytest.fixture(scope="session")
def page(comparison, plain) -> str:
    return render([(comparison, CONFIG), (plain, "")])


@pytest.fixture(scope="session")
def read(page) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_every_tag_is_closed_and_every_id_is_used_once(read) -> None:
    assert read.open == []
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labelled = [attributes["aria-labelledby"] for _, attributes in read.tags if "aria-labelledby" in attributes]
    assert set(labelled) <= set(ids)


def test_estimates_under_a_prior_are_said_to_be_no_maximum_of_the_likelihood(read) -> None:
    assert "These are the mode under the conjugate prior, which draws standard deviations towards" in read.text


def test_what_users_typed_is_text_and_never_markup(page, read) -> None:
    assert "<script" not in page
    assert not {"b", "i", "script"} & {tag for tag, _ in read.tags}
    for typed in (HOSTILE, CONFIG, "<i>lost</i>", "<b>why</b>"):
        assert typed in read.text


def test_the_page_needs_no_other_file_and_no_network(page, read) -> None:
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in read.tags}
    sources = [attributes["src"] for attributes in read.all("img")]
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    outside = re.sub(r'src="data:[^"]*"', "", page)
    assert "http" not in outside and "url(" not in outside and "@import" not in outside


def test_figures_have_alternative_texts_and_captions_and_tables_have_scopes(read) -> None:
    images = read.all("img")
    assert len(images) == 6 + 4
    assert all(len(image["alt"]) > 20 for image in images)
    assert len(read.all("figcaption")) == len(read.all("figure")) == len(images)
    assert all(header["scope"] in ("row", "col") for header in read.all("th"))
    assert len(read.all("h1")) == 1
    assert len(read.all("section")) == 2


def test_the_page_says_all_that_the_table_says(read, comparison) -> None:
    shown = table(comparison)
    assert shown.reading in read.text
    for heading, cells in shown.lines:
        assert heading in read.text
        assert all(cell in read.text for cell in cells)


def test_the_page_says_what_the_draws_of_each_sampler_say(read, comparison) -> None:
    summary = posterior_summary(comparison[HOSTILE], comparison.problem, columns=comparison.columns)
    assert f"Posterior: {HOSTILE}" in read.text
    assert reading(summary) in read.text
    for grid in (*estimate_tables(summary), chain_table(summary), agreement_table(summary)):
        assert all(cell in read.text for row in grid.lines() for cell in row)
    assert len(read.all("details")) == 4 + 2  # four tables of one sampler, and the configs of two comparisons
    assert any(e.name == f"means[1, {HOSTILE}]" for e in summary.parameters)


def test_the_page_says_what_labels_do_where_a_method_samples(read, two_groups) -> None:
    # The first comparison has a sampler, the second has none.
    assert read.text.count("Labels are ") == 1
    assert "Labels are free: the posterior is the same in all K! = 2 labellings" in read.text
    line = wb.Problem(two_groups.x[:, 0], 3, labels="ordered")
    plane = wb.Problem(two_groups.x, 3, labels="ordered")
    assert words_on_labels(line).startswith("Labels are ordered by the first coordinate of the means, one of K! = 6")
    assert words_on_labels(line).endswith("away from its neighbours.")
    assert words_on_labels(plane).endswith("neighbours, and the order by one of several columns may cut a mode in two.")


def test_the_page_is_the_same_every_time(page, comparison, plain) -> None:
    assert render([(comparison, CONFIG), (plain, "")]) == page


def test_a_page_of_nothing_is_still_a_page() -> None:
    assert "<h1>" in render([])


def test_a_comparison_in_which_every_method_failed_is_reported(comparison) -> None:
    failed = dataclasses.replace(comparison, traces={})
    assert figures_of(failed) == {}
    assert "&lt;b&gt;why&lt;/b&gt;" in render([(failed, "")])


def test_figures_are_those_that_have_something_to_show(comparison, plain) -> None:
    assert list(figures_of(comparison)) == ["score", "fit", "waterfall", "posterior", "labels", "clustering"]
    assert list(figures_of(plain)) == ["score", "fit", "waterfall", "clustering"]
    sampler = dataclasses.replace(plain, traces={"nuts": comparison[HOSTILE]})
    assert list(figures_of(sampler)) == ["score", "fit", "posterior", "labels", "clustering"]


def test_more_than_two_columns_are_drawn_in_pairs_and_at_most_six_of_them(trace_of) -> None:
    problem = wb.Problem(np.random.default_rng(0).normal(size=(60, 8)), 1, "spherical")
    mixture = wb.Mixture.from_covariances([1.0], np.zeros((1, 8)), np.ones(1), "spherical")
    made = Comparison(problem, {"em": trace_of(problem, [[mixture]])})
    assert len(figures_of(made)["fit"].axes) == 36


def test_a_drawing_is_byte_identical_and_changes_no_setting(plain) -> None:
    settings = dict(matplotlib.rcParams)
    first, second = (svg_of(figures_of(plain)["score"]) for _ in range(2))
    assert first == second
    assert dict(matplotlib.rcParams) == settings


def test_files_are_written_whole_and_nothing_else_is_left(tmp_path, comparison, plain) -> None:
    folder = tmp_path / "new" / "figures"
    paths = save_figures(comparison, folder)
    assert sorted(folder.iterdir()) == sorted(paths)
    assert {path.name for path in paths} == {f"{name}.png" for name in figures_of(comparison)}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    report = tmp_path / "site" / "report.html"
    write_report(report, [(plain, CONFIG)])
    assert list(report.parent.iterdir()) == [report]
    assert report.read_text(encoding="utf-8") == render([(plain, CONFIG)])


def test_a_failed_write_keeps_the_old_report(tmp_path, plain, monkeypatch) -> None:
    report = tmp_path / "report.html"
    report.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(report, [(plain, CONFIG)])
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]

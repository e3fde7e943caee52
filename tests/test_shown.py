"""Every public object shows itself: a short `repr`, and sound HTML in a notebook."""

import inspect
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.methods import METHODS
from workbench.mixture import PRIORS
from workbench.selection import CRITERIA, Choice, Score
from workbench.starts import STARTS

# What exported functions return that is no object of this package: numbers, names, models of NumPyro, files.
FOREIGN = {
    "InputError", "dataset_names", "latent_model", "mixture_model", "results", "save_comparison", "to_arviz",
    "use_all_cores",
}  # fmt: skip

MARKUP = "<b>&"


@pytest.fixture(scope="module")
def data() -> wb.Dataset:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(60, 2)) + np.where(np.arange(60) < 30, 0.0, 6.0)[:, None]
    labels = np.repeat(["a", "b"], 30)
    return wb.Dataset(MARKUP, x, ("length", MARKUP), labels, "cm", "drawn here", ids=np.arange(60).astype(str))


@pytest.fixture(scope="module")
def comparison(data: wb.Dataset) -> wb.Comparison:
    problem = wb.Problem(data, 2, prior="conjugate")
    methods = {MARKUP: wb.EM(), "ascent": wb.GradientAscent(), "gibbs": wb.Gibbs(num_warmup=20, num_samples=40)}
    reference = wb.Reference(heldout=data.x, labels=data.labels)
    return wb.compare(problem, methods, restarts=4, seed=3, reference=reference)


EXPERIMENT = {
    "data": {"dataset": "faithful"},
    "model": {"components": 2},
    "methods": {name: {} for name in ("em", "ascent", "squarem", "newton")},
    "starts": {"rule": "given", "weights": [0.1] * 10, "means": [[0.0, 1.0]] * 10, "covariances": [1.0] * 10},
}

STUDY = """
study = "rate"
separations = [1.0, 2.0, 3.0]
""" + "".join(
    f'[[subjects]]\nname = "{name}"\ndata.dataset = "{name}"\nmodel.components = 2\n' for name in ("faithful", "iris")
)


@pytest.fixture(scope="module")
def made(data: wb.Dataset, comparison: wb.Comparison, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One small object of each class and of each function that `workbench` exports."""
    folder = tmp_path_factory.mktemp("shown")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    np.savetxt(folder / "points.csv", data.x, delimiter=",", header="x,y", comments="")
    problem, trace, draws = comparison.problem, comparison[MARKUP], comparison["gibbs"]
    mixture = trace.at(0, -1)
    scores = {name: Score.missing("<b>there is none") for name in CRITERIA}
    choices = tuple(Choice(k, 3 * k, -1.0, scores | {"aic": Score.of(-float(k))}) for k in range(1, 8))
    chosen = wb.Selection(MARKUP, "60 points", choices, failures={"8": "RuntimeError: <b>"})
    experiment = wb.Experiment.model_validate(EXPERIMENT)
    study: Any = wb.read_study(folder / "study.toml")
    rows: list[dict[str, Any]] = [{"subject": MARKUP, "ratio": float(n)} for n in range(100)]
    wb.save_comparison(comparison, folder / "it.npz")
    survey = wb.atlas(problem, wb.EM(), starts=20)
    stated = {"weights": [0.5, 0.5], "means": [[0.0, 0.0], [6.0, 6.0]], "covariances": [[[1.0, 0.0], [0.0, 1.0]]] * 2}
    named: dict[str, Any] = {kind.__name__: kind for kinds in (METHODS, PRIORS, STARTS) for kind in kinds.values()}
    found = {
        name: kind(**stated) if issubclass(kind, wb.Given | wb.Labellings) else kind()
        for name, kind in named.items()
        if name != "BoundedRatioPrior"
    }
    return found | {
        "Atlas": survey, "Background": wb.Background(0.1, data.x.min(0), data.x.max(0)),
        "BoundedRatioPrior": wb.BoundedRatioPrior(ratio=100.0), "Comparison": comparison, "Dataset": data,
        "Experiment": experiment, "FamilySelection": wb.FamilySelection(MARKUP, {"full": chosen, "tied": chosen}),
        "Findings": wb.Findings(study, rows, lost=MARKUP), "Fixed": wb.Fixed(component=0, weight=0.3),
        "GibbsKernel": wb.GibbsKernel(), "Mixture": mixture, "several": trace.mixtures,
        "PosteriorSummary": wb.posterior_summary(draws, problem, columns=data.columns), "Problem": problem,
        "Race": wb.Race(after=3, keep=2), "Reference": comparison.reference,
        "RelabelledDraws": wb.relabel(draws, problem), "Selection": chosen,
        "Simulator": wb.Simulator(2, 2, 60, 3.0), "Soundness": wb.Soundness(), "Study": study,
        "Trace": trace, "Wanted": wb.Wanted(columns=[f"column {n}" for n in range(500)]),
        "atlas": survey, "compare": comparison, "cross_table": wb.cross_table(comparison, MARKUP),
        "errors_of": wb.errors_of(comparison, MARKUP), "estimates_of": wb.estimates_of(comparison, MARKUP),
        "load_comparison": wb.load_comparison(folder / "it.npz"), "load_dataset": wb.load_dataset("iris"),
        "posterior_summary": wb.posterior_summary(draws, problem), "read_experiment": experiment,
        "read_file": wb.read_file(folder / "points.csv"), "read_study": study, "read_table": wb.read_table(data.x),
        "relabel": wb.relabel(draws, problem), "summarise": wb.summarise(comparison), "table": wb.table(comparison),
        # What runs and what loads return is of the classes above, by itself or in a list.
        "load_atlases": [survey], "load_results": [comparison], "load_selections": [chosen],
        "load_studies": [wb.Findings(study, rows)], "run_experiment": comparison,
        "run_study": wb.Findings(study, rows), "select": chosen,
        "select_families": wb.FamilySelection(MARKUP, {"full": chosen}),
    }  # fmt: skip


EXPORTED = sorted(name for name in wb.__all__ if not inspect.ismodule(getattr(wb, name)) and name not in FOREIGN)


class Page(HTMLParser):
    """Refuses HTML in which tags do not close, or in which the names of this file are markup."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag != "b"
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", [*EXPORTED, "several"])
def test_every_public_object_has_a_short_repr_and_html(name: str, made: dict[str, Any]) -> None:
    for each in made[name] if isinstance(made[name], list) else [made[name]]:
        text, page = repr(each), Page()
        assert 0 < len(text) <= 1000 and " object at 0x" not in text, text
        assert type(each).__name__ in text
        page.feed(each._repr_html_())
        assert not page.open and page.seen
        assert len(each._repr_html_()) < 40_000
    assert len(repr(made[name])) <= 1000


TABLES = ("PosteriorSummary", "Selection", "FamilySelection", "Atlas", "Findings", "errors_of", "estimates_of", "table")


@pytest.mark.parametrize("name", TABLES)
def test_printing_shows_the_whole_table(name: str, made: dict[str, Any]) -> None:
    assert "─" in str(made[name]) and "─" not in repr(made[name])
    assert repr(made[name]).endswith("print it for the table)")


def test_a_config_is_shown_by_what_differs_from_its_defaults() -> None:
    assert repr(wb.EM()) == "EM()"
    assert repr(wb.EM(tolerance=1e-6)) == "EM(tolerance=1e-06)"
    assert repr(wb.SQUAREM(of=wb.EM(max_iterations=9))) == "SQUAREM(of=EM(max_iterations=9))"
    page = wb.EM(tolerance=1e-6)._repr_html_()
    assert "1e-06" in page and "stop when log_joint rises" in page and "max_iterations" in page
    assert "─" in str(wb.EM()) and "max_iterations" in str(wb.EM())


def test_mixtures_data_sets_and_draws_are_data_frames(made: dict[str, Any], data: wb.Dataset) -> None:
    mixture, draws = made["Mixture"], made["RelabelledDraws"]
    frame = mixture.to_dataframe()
    assert list(frame.columns) == ["component", "weight", "mean x1", "mean x2", "sd x1", "sd x2"]
    np.testing.assert_array_equal(frame["weight"], mixture.weights)
    np.testing.assert_allclose(frame["sd x2"], np.sqrt(np.asarray(mixture.covariances)[:, 1, 1]), rtol=1e-12)
    with pytest.raises(wb.InputError, match="is several mixtures; give one"):
        made["several"].to_dataframe()
    rows = data.to_dataframe()
    assert list(rows.columns) == ["id", "length", MARKUP, "label"]
    np.testing.assert_array_equal(rows[["length", MARKUP]], data.x)
    assert rows["label"].tolist() == ["a"] * 30 + ["b"] * 30
    chains, kept = draws.permutations.shape[:2]
    table = draws.to_dataframe()
    assert len(table) == chains * kept
    np.testing.assert_array_equal(table["weights[1]"], np.asarray(draws.mixtures.weights)[..., 0].ravel())
    assert table[["chain", "draw"]].iloc[kept].tolist() == [1, 0]
    assert made["Findings"].to_dataframe()["ratio"].tolist() == list(range(100))


def test_a_column_keeps_its_name_beside_the_labels(data: wb.Dataset) -> None:
    named = wb.Dataset("n", data.x, ("label", "id"), data.labels, "", "", ids=data.ids)
    assert list(named.to_dataframe().columns) == ["id_", "label", "id", "label_"]


def test_long_values_are_cut() -> None:
    many = wb.Dataset("many", np.zeros((2, 3000)), tuple(f"column {n}" for n in range(3000)), None, "", "")
    assert len(repr(many)) < 400
    wide = wb.Mixture.from_covariances(np.full(50, 0.02), np.zeros((50, 9)), np.ones((50, 9)), "diagonal")
    assert len(repr(wide)) <= 1000 and "\n" not in repr(wide)


SET: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "weights": ("weights", {"weights": np.arange(60) % 3 + 0.5}, ("from 0.5 to 2.5; 60 rows count as N = 90",)),
    "missing": ("missing cells", {"missing": "marginal"}, ("1 in 1 of 60 rows, which count by their other cells",)),
    "dropped": ("rows left out", {"dropped": 7}, ("7, for their missing cells",)),
    "known": ("known components", {"known": ["a", "b"] + [""] * 58}, ("2 of 60 rows", "a (1)", "b (1)")),
}


@pytest.mark.parametrize("given", SET)
def test_what_is_set_of_points_is_seen_in_their_data_set_and_in_their_problem(data: wb.Dataset, given: str) -> None:
    name, values, words = SET[given]
    x = np.where(np.arange(120).reshape(60, 2) == 9, np.nan, data.x) if given == "missing" else data.x
    plain = replace(data, labels=None)
    special = replace(plain, x=x, **values)
    assert name in repr(special) and name not in repr(plain) + plain._repr_html_() + wb.Problem(plain, 2)._repr_html_()
    problem = wb.Problem(special, 2)
    assert name in repr(problem) or "points that count as 90" in repr(problem)
    for page in (special._repr_html_(), problem._repr_html_()):
        assert name in page
    assert all(word in special._repr_html_() for word in words)
    assert words[0] in problem._repr_html_()


def test_what_is_set_of_a_model_is_seen_in_its_problem(data: wb.Dataset) -> None:
    fixed = wb.Problem(data, 2, fixed=wb.Fixed(component=1, weight=0.3))
    assert "fixed parameters" in repr(fixed) and "of component 2 weight" in fixed._repr_html_()
    beside = wb.Problem(data, 2, "tied", wb.ConjugatePrior(mean_shrinkage=0.5), background=True)._repr_html_()
    assert all(word in beside for word in ("uniform in a box", "weight=0.05", "mean_shrinkage=0.5", "tied"))
    assert "a (30), b (30)" in beside and "length, &lt;b&gt;&amp;" in beside
    assert "background" not in fixed._repr_html_()


def test_a_line_shows_what_terminals_would_obey() -> None:
    x = np.random.default_rng(0).normal(size=(9, 2))
    data = wb.Dataset("a", x, ("\x1b[31m", "b\u202e"), labels=None, units="none", source="")
    for shown in (repr(data), data._repr_html_(), wb.Problem(data, 1)._repr_html_()):
        assert shown.replace("\n", "").isprintable()
        assert r"\x1b" in shown

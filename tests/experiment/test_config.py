import tomllib
from itertools import product
from typing import Any, get_args

import pytest
import tomli_w
from pydantic import BaseModel

from workbench.experiment import DataConfig, Experiment, SimulateConfig, parse_experiment
from workbench.methods import EM, METHODS, GradientAscent, Method
from workbench.mixture import COVARIANCES, PRIORS, FlatPrior
from workbench.soundness import Soundness
from workbench.starts import STARTS, Alternating

BASE: dict[str, Any] = {"data": {"dataset": "faithful"}, "model": {"components": 2}, "methods": {"em": {}}}
# What a config needs beyond its tag.
STATED = {"weights": [0.5, 0.5], "means": [[2.0, 55.0], [4.0, 80.0]], "covariances": [[1, 0], [0, 1.0]]}
REQUIRED = {"given": STATED, "labellings": STATED}

# Another value than the default for every field of every registered config, tags apart.
CHANGED: dict[str, Any] = {
    "tolerance": 1e-4,
    "max_iterations": 7,
    "optimizer": "adam",
    "learning_rate": 0.25,
    "gradient_tolerance": 1e-3,
    "race": {"after": 3, "keep": 2},
    "of": {"method": "em", "tolerance": 1e-6, "max_iterations": 7},
    "growth": 1.75,
    "length": 1.25,
    "radius": 0.5,
    "damping": 0.25,
    "reg_covar": 1e-3,
    "strength": 0.5,
    "loading": 1e-3,
    "ratio": 20.0,
    "ascent.weights": "stick_breaking",
    "ascent.scales": "matrix_logarithm",
    "direction": "gradient",
    "memory": 4,
    "batch": 17,
    "max_passes": 0.75,
    "power": 0.875,
    "warm_up": 6,
    "order": 3,
    "num_warmup": 11,
    "num_samples": 12,
    "num_chains": 3,
    "thinning": 2,
    "target_accept_prob": 0.9,
    "max_tree_depth": 5,
    "dense_mass": True,
    "concentration": 2.0,
    "mean_location": [1.0, 2.5],
    "mean_shrinkage": 0.5,
    "degrees_of_freedom": 9.0,
    "scatter": [[2.0, 0.5], [0.5, 3.0]],
    "scatter_components": 4,
    "mean_scale": [1.0, 3.0],
    "deviation": "log_normal",
    "deviation_scale": [0.5, 5.0],
    "deviation_spread": 2.0,
    "correlation_concentration": 4.0,
    "weights": [0.25, 0.75],
    "means": [[1.0, 50.0], [3.5, 81.0]],
    "covariances": [[2.0, 0.5], [0.5, 3.0]],
    "fixed": [{"component": 0, "weight": 0.25}],
    "background": True,
    "given.background": 0.25,
    "labellings.background": 0.25,
    "min_relative_size": 2.0,
    "min_relative_eigenvalue": 1e-3,
    "tight": 0.1,
    "small": 1.0,
    "components": 4,
    "dimensions": 3,
    "points": 77,
    "separation": 2.5,
    "imbalance": 2.0,
    "anisotropy": 3.0,
    "seed": 5,
    "restarts": 3,
    "columns": ["waiting"],
    "divide_by": 60.0,
    "standardize": True,
    "test_fraction": 0.25,
    "covariance": "spherical",
    "labels": "ordered",
    "guide": "multivariate_normal",
    "num_particles": 2,
    "ess_share": 0.75,
    "num_moves": 3,
    "num_steps": 8,
    "permuted.of": {"method": "gibbs", "num_warmup": 11, "num_samples": 12, "num_chains": 3, "thinning": 1},
}


def through_toml(experiment: Experiment) -> Experiment:
    return parse_experiment(tomllib.loads(tomli_w.dumps(experiment.resolved())), "round trip")


def _fields(config: type[BaseModel], *tags: str) -> list[str]:
    return [name for name in config.model_fields if name not in tags]


def _table(kind: str, tag: str, field: str | None = None) -> dict[str, Any]:
    # A field that no value is stated for here is an error, and not one that is left out.
    changed = {} if field is None else {field: CHANGED[own] if (own := f"{tag}.{field}") in CHANGED else CHANGED[field]}
    return {kind: tag, **REQUIRED.get(tag, {}), **changed}


@pytest.mark.parametrize(("method", "prior", "start"), list(product(METHODS, PRIORS, STARTS)))
def test_every_default_is_resolved_and_survives_toml(method, prior, start):
    values = {**BASE, "methods": {"m": {"method": method}}}
    values |= {"prior": _table("family", prior), "starts": _table("rule", start)}
    experiment = parse_experiment(values, "x")
    resolved = experiment.resolved()
    assert through_toml(experiment) == experiment
    assert through_toml(experiment).resolved() == resolved
    # Nothing is left to a default: what is missing has none but "unset".
    for config, table in (
        (METHODS[method], resolved["methods"]["m"]),
        (PRIORS[prior], resolved["prior"]),
        (STARTS[start], resolved["starts"]),
        (Soundness, resolved["soundness"]),
    ):
        stated = REQUIRED.get(start, {}) if config is STARTS[start] else {}
        assert {name for name, f in config.model_fields.items() if f.default is not None} | set(stated) == set(table)


def test_a_file_has_the_unit_that_is_stated_and_else_none(tmp_path):
    (tmp_path / "own.csv").write_text("height,mass\n1,2\n3,5\n4,4\n", encoding="utf-8")
    config = DataConfig(file="own.csv", units="cm")
    assert DataConfig(file="own.csv").load(0, tmp_path)[0].units == ""
    assert config.load(0, tmp_path)[0].units == "cm"
    assert config.model_copy(update={"divide_by": 10.0}).load(0, tmp_path)[0].units == "10 cm"
    with pytest.raises(ValueError, match="units goes with file"):
        DataConfig(dataset="faithful", units="hours")


def test_who_shares_the_work_is_no_part_of_what_a_run_is():
    shared = parse_experiment({**BASE, "run": {"devices": 4, "hosts": 2}}, "x")
    assert (shared.run.devices, shared.run.devices_per_host) == (4, 2)
    assert shared.resolved() == parse_experiment(BASE, "x").resolved()


OF_FILES = ("label", "units", "exclude", "id", "missing", "weights", "label_known")


@pytest.mark.parametrize(
    "changes", [{"exclude": ["b"]}, {"id": "b"}, {"missing": "drop"}, {"weights": "b"}, {"label_known": "b"}]
)
def test_what_is_said_of_a_file_goes_with_one(changes):
    own = DataConfig(file="own.csv", **changes)
    assert DataConfig(**own.model_dump(mode="json", exclude_none=True)) == own
    with pytest.raises(ValueError, match="goes with file"):
        DataConfig(dataset="faithful", **changes)


def test_columns_are_used_or_left_out():
    with pytest.raises(ValueError, match="give columns or exclude, not both"):
        DataConfig(file="own.csv", columns=["a"], exclude=["b"])


ONE_FIELD = [
    *[("methods", name, field) for name, config in METHODS.items() for field in _fields(config, "method")],
    *[("prior", name, field) for name, config in PRIORS.items() for field in _fields(config, "family")],
    *[("starts", name, field) for name, config in STARTS.items() for field in _fields(config, "rule", "file")],
    *[("soundness", "", field) for field in _fields(Soundness)],
    *[("simulate", "", field) for field in _fields(SimulateConfig)],
    *[("data", "", field) for field in _fields(DataConfig, "dataset", "file", "simulate", *OF_FILES)],
    *[("model", "", field) for field in ("components", "covariance", "labels", "fixed", "background")],
    *[("", "", field) for field in ("seed", "restarts")],
]


@pytest.mark.parametrize(("section", "tag", "field"), ONE_FIELD, ids=["-".join(filter(None, f)) for f in ONE_FIELD])
def test_every_field_can_be_set_and_survives_toml(section, tag, field):
    match section:
        case "methods":
            changes = {"methods": {"m": _table("method", tag, field)}}
        case "prior":
            changes = {"prior": _table("family", tag, field)}
        case "starts":
            changes = {"starts": _table("rule", tag, field)}
        case "simulate":
            sizes = {"components": 2, "dimensions": 2, "points": 50, "separation": 1.0}
            changes = {"data": {"simulate": {**sizes, field: CHANGED[field]}}}
        case "":
            changes = {field: CHANGED[field]}
        case _:
            changes = {section: {**BASE.get(section, {}), field: CHANGED[field]}}
    experiment = parse_experiment({**BASE, **changes}, "x")
    assert experiment != parse_experiment(BASE, "x")
    assert through_toml(experiment) == experiment
    # The value itself arrives, wherever it lies.
    assert field in str(experiment.resolved())
    assert str(CHANGED.get(f"{tag}.{field}", CHANGED.get(field))) in str(experiment.resolved()).replace("'m': ", "")


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_every_covariance_family_can_be_asked_for(covariance):
    experiment = parse_experiment({**BASE, "model": {"components": 2, "covariance": covariance}}, "x")
    assert experiment.model.covariance == covariance


def test_the_configs_families_are_those_registered():
    field = Experiment.model_fields["model"].annotation.model_fields["covariance"]
    assert set(get_args(field.annotation)) == set(COVARIANCES)


def test_what_is_left_out_is_the_flat_prior_alternating_starts_and_the_stated_rule():
    experiment = parse_experiment(BASE, "x")
    assert (experiment.prior, experiment.starts, experiment.soundness) == (FlatPrior(), Alternating(), Soundness())
    assert (experiment.seed, experiment.restarts) == (0, 8)


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_own_name_says_which_method_it_is(name):
    assert parse_experiment({**BASE, "methods": {name: {}}}, "x").methods == {name: METHODS[name]()}


def test_a_method_of_ones_own_name_says_which_it_is_and_a_registered_name_may_be_another():
    methods: dict[str, Method] = parse_experiment(
        {**BASE, "methods": {"adam": {"method": "ascent", "optimizer": "adam"}, "nuts": {"method": "em"}}}, "x"
    ).methods
    assert methods == {"adam": GradientAscent(optimizer="adam"), "nuts": EM()}


def test_methods_keep_their_order():
    order = {"b": {"method": "em"}, "a": {"method": "em"}, "ascent": {}}
    experiment = parse_experiment({**BASE, "methods": order}, "x")
    assert list(experiment.methods) == list(through_toml(experiment).methods) == ["b", "a", "ascent"]


def test_configs_are_frozen_and_equal_by_value():
    one, other = parse_experiment(BASE, "x"), parse_experiment(BASE, "y")
    assert one == other
    with pytest.raises(ValueError, match="frozen"):
        one.seed = 3
    with pytest.raises(ValueError, match="frozen"):
        one.prior.family = "conjugate"


@pytest.mark.parametrize(("kind", "table"), [("methods", METHODS), ("prior", PRIORS), ("starts", STARTS)])
def test_every_registered_config_is_a_key_of_compiled_programs(kind, table):
    tags = {"methods": "method", "prior": "family", "starts": "rule"}
    for name, config in table.items():
        values = _table(tags[kind], name)
        assert hash(config.model_validate(values)) == hash(config.model_validate(values))


@pytest.mark.parametrize(("method", "field"), [("em", "tolerance"), ("ascent", "gradient_tolerance")])
def test_an_infinite_tolerance_survives_toml(method, field):
    experiment = parse_experiment({**BASE, "methods": {method: {field: float("inf")}}}, "x")
    assert through_toml(experiment) == experiment

"""The posterior table of made-up chains: figures, labellings, agreement, and how they are printed."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from workbench.posterior.relabelling import RELABELLINGS, apply
from workbench.posterior.summary import (
    agreement_table,
    csv_of,
    estimate_tables,
    posterior_summary,
    reading,
    text_of,
    to_dict,
)

R, S = 4, 100


@pytest.fixture(scope="module")
def chains(draws_of, three_groups, trace_of):
    """Independent draws of four chains; the first two components have changed places in two of them."""
    orders = np.tile(np.arange(3), (R, S, 1))
    orders[2:] = [1, 0, 2]
    return trace_of(three_groups, apply(orders, draws_of(chains=R, draws=S)[0]), draws=S)


@pytest.fixture(scope="module")
def summary(chains, three_groups):
    return posterior_summary(chains, three_groups, columns=("a", "b"))


def named(estimates):
    return {estimate.name: estimate for estimate in estimates}


def test_parameters_are_those_of_the_components_whatever_their_labels(summary, draws_of):
    made, found = draws_of(chains=R, draws=S)[0], named(summary.parameters)
    for k in range(3):
        estimate, column = found[f"means[{k + 1}, b]"], np.asarray(made.means)[:, :, k, 1]
        # The same numbers added in the same order.
        assert (estimate.mean, estimate.sd) == (np.mean(column), np.std(column, ddof=1))
        # Draws are independent, so the error is that of as many; its estimate is off by some percent.
        assert estimate.mcse == pytest.approx(estimate.sd / np.sqrt(R * S), rel=0.2)


def test_raw_r_hat_stands_beside_the_one_that_counts_and_only_there(summary):
    found = named(summary.parameters)
    # Rank-normalised R-hat of two chains against two saturates below 2; that of 400 independent draws scatters by 5 %.
    assert found["means[1, a]"].raw_r_hat > 1.5 > 1.05 > found["means[1, a]"].r_hat
    assert found["means[3, a]"].raw_r_hat == found["means[3, a]"].r_hat
    assert all(estimate.raw_r_hat is None for estimate in summary.functionals)
    assert all(estimate.r_hat < 1.05 for estimate in summary.functionals)


def test_functionals_of_every_kind_are_told(summary):
    kinds = {name.partition("[")[0] for name in named(summary.functionals)}
    blind = {"log_joint", "log_likelihood", "log_density", "co_clustering"}
    assert kinds == blind | {"sorted_weights", "sorted_log_determinants", "sorted_means"}
    together = [e for e in summary.functionals if e.name.startswith("co_clustering")]
    assert all(0 <= estimate.mean <= 1 for estimate in together)
    # Effective draws of independent ones; the estimate is off by some 10 %, more in the tails.
    assert all(0.5 * R * S < e.ess_bulk < 2 * R * S and e.ess_tail > 0.4 * R * S for e in summary.functionals)


def test_labellings_are_counted_by_chain(summary):
    assert (summary.labellings, summary.labellings_met) == (6, 2)
    assert (summary.modes_visited, summary.switches) == ((1, 1, 1, 1), (0, 0, 0, 0))


def test_algorithms_agree_on_groups_far_apart_and_each_has_its_cost(summary):
    compared = summary.compared
    assert compared.names == tuple(RELABELLINGS)
    np.testing.assert_array_equal(compared.agreement, 1.0)
    assert compared.draws == R * S
    assert all(seconds > 0 for seconds in compared.seconds)


def test_chains_that_are_not_finite_or_never_move_are_told_and_never_raise(chains, three_groups):
    log_joint = chains.log_joint.copy()
    log_joint[1, 5] = np.nan
    still = chains.answer.means.copy()
    still[..., 2, 1] = 7.0
    spoilt = replace(chains, log_joint=log_joint, mixtures=replace(chains.mixtures, means=still))
    found = posterior_summary(spoilt, three_groups)
    lost, constant = named(found.functionals)["log_joint"], named(found.parameters)["means[3, x2]"]
    assert np.isnan([lost.mean, lost.mcse, lost.r_hat, lost.ess_tail]).all()
    assert (constant.mean, constant.sd) == (7.0, 0.0) and np.isnan([constant.r_hat, constant.raw_r_hat]).all()
    assert json.dumps(to_dict(found), allow_nan=False)
    assert "–" in text_of(found, "spoilt")


def test_nothing_is_read_off_the_r_hat_of_an_approximation(chains, three_groups, summary):
    found = posterior_summary(replace(chains, evidence_bound=np.zeros(R)), three_groups, columns=("a", "b"))
    assert all(np.isnan([e.r_hat, e.ess_bulk, e.ess_tail]).all() for e in (*found.functionals, *found.parameters))
    assert [e.mean for e in found.parameters] == [e.mean for e in summary.parameters]
    assert "no R-hat says how near it is" in reading(found)


def test_every_figure_is_printed_and_the_reading_says_what_matters(summary):
    functionals, parameters = estimate_tables(summary)
    assert [line[0] for line in functionals.lines()] == [e.name for e in summary.functionals]
    assert [line[0] for line in parameters.lines()] == [e.name for e in summary.parameters]
    assert "relabelled by stephens" in parameters.title
    said = reading(summary)
    assert "4 chains of 100 draws" in said and "Of 6 labellings the chains visit 1, 1, 1, 1; 2 between them." in said
    text = text_of(summary, "mine: nuts")
    assert text.startswith("mine: nuts\n4 chains")
    assert all(name in text for name in RELABELLINGS)
    assert agreement_table(summary).lines()[0][1:] == ["100 %"] * len(RELABELLINGS)


def test_a_mean_is_printed_to_the_second_digit_of_its_error(summary):
    (first, *_) = summary.parameters
    shown = [
        replace(first, mean=m, mcse=e) for m, e in ((-1300.1234, 0.077), (12345.6, 34.0), (2e-7, 1e-9), (0.9, 0.0))
    ]
    rows = estimate_tables(replace(summary, parameters=tuple(shown)))[1].lines()
    assert [row[3] for row in rows] == ["0.077", "34", "1.0e-09", "0.0"]
    assert [row[1] for row in rows] == ["-1,300.123", "12,346", "2e-07", "0.9"]


def test_json_and_csv_hold_what_the_table_holds(summary):
    plain = json.loads(json.dumps(to_dict(summary), allow_nan=False))
    assert [e["name"] for e in plain["parameters"]] == [e.name for e in summary.parameters]
    assert plain["compared"]["agreement"] == summary.compared.agreement.tolist()
    rows = list(csv.DictReader(io.StringIO(csv_of([("a, b", "nuts", summary)]))))
    assert len(rows) == len(summary.functionals) + len(summary.parameters)
    assert rows[0]["experiment"] == "a, b" and rows[0]["raw_r_hat"] == ""
    assert float(rows[-1]["r_hat"]) == summary.parameters[-1].r_hat
    frame = summary.to_dataframe()
    assert len(frame) == len(rows) and frame["r_hat"].iloc[-1] == summary.parameters[-1].r_hat
    assert summary._repr_html_().count("<table") == len(estimate_tables(summary))

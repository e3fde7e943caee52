"""A wrong value in a config gives one message with the class, the field, the value and the remedy."""

import re

import pytest

import workbench as wb


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wb.EM(tolerance="x"), "EM: tolerance: must be a valid number, got 'x'"),
        (lambda: wb.EM(max_iteration=3), "EM: max_iteration: unknown key (did you mean max_iterations?)"),
        (lambda: wb.Soundness(small=-1.0), "Soundness: small: must be greater than or equal to 0, got -1.0"),
        (
            lambda: wb.Given(weights=[1.0], means=[[0.0]]),
            "Given: covariances: missing; give weights, means and covariances, or file",
        ),
        (lambda: wb.EM(race={"after": 0, "keep": 1}), "EM: race.after: must be greater than or equal to 1, got 0"),
        (lambda: wb.EM(race={"aftr": 1, "keep": 1}), "EM: race.aftr: unknown key (did you mean after?)"),
        (lambda: wb.Permuted(of={}), "Permuted: of.method: missing; give one"),
        (
            lambda: wb.Permuted(of={"method": "nut"}),
            "Permuted: of.method: unknown 'nut' (did you mean 'nuts'? allowed: nuts, gibbs, mixed, tempered_smc, ibis)",
        ),
    ],
)
def test_a_wrong_value_is_one_message(make, message):
    with pytest.raises(wb.InputError) as refused:
        make()
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_every_wrong_value_is_named():
    with pytest.raises(wb.InputError) as refused:
        wb.NUTS(num_samples=0, num_chains=-2)
    assert re.findall(r"NUTS: (\w+): ", str(refused.value)) == ["num_samples", "num_chains"]

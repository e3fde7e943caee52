"""Which starts come from one search, so that their agreement is no evidence."""

import numpy as np
import pytest

from workbench.mixture import Mixture
from workbench.starts import STARTS, Alternating, Given, Stated


@pytest.mark.parametrize("name", sorted(STARTS))
def test_every_rule_numbers_the_searches_of_its_starts(name: str) -> None:
    mixture = Mixture.from_covariances([1.0], [[0.0]], [[[1.0]]])
    kind = STARTS[name]
    rule = kind.of(mixture) if issubclass(kind, Stated) else kind.model_validate({})
    for restarts in (0, 1, 2, 9, 32):
        found = rule.searches(restarts)
        assert found.shape == (restarts,)
        # As the starts themselves, the first do not depend on how many there are.
        assert np.array_equal(np.unique(rule.searches(40)[:restarts]).size, np.unique(found).size)
    assert len(set(Given.of(mixture).searches(8).tolist())) == 1


def test_the_default_has_five_searches_in_eight_starts() -> None:
    """Hierarchical clustering twice is one, short EM four times two, k-means and varied seeds one each."""
    found = Alternating().searches(8)
    assert len(set(found.tolist())) == 5
    assert found[0] == found[4]
    assert found[1] == found[3] != found[5] == found[7]

"""An estimator for scikit-learn; needs scikit-learn: `pip install 'workbench[sklearn]'`."""

from importlib.util import find_spec

from workbench.errors import InputError

if find_spec("sklearn") is None:
    raise InputError("workbench.sklearn: needs scikit-learn; pip install 'workbench[sklearn]'")

from workbench.sklearn.estimator import GaussianMixture  # after the check, whose message is readable

__all__ = ["GaussianMixture"]

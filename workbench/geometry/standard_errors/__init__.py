"""Standard errors of a fitted mixture by independent methods that should agree: information, SEM, bootstrap."""

from workbench.geometry.standard_errors.bootstrap import SCHEMES, Fitted, climb, refits
from workbench.geometry.standard_errors.labels import Labelled, labelled_as
from workbench.geometry.standard_errors.louis import missing_information
from workbench.geometry.standard_errors.natural import covariance_of, delta, deviations, names, natural
from workbench.geometry.standard_errors.supplemented import Supplemented, supplemented

__all__ = [
    "SCHEMES",
    "Fitted",
    "Labelled",
    "Supplemented",
    "climb",
    "covariance_of",
    "delta",
    "deviations",
    "labelled_as",
    "missing_information",
    "names",
    "natural",
    "refits",
    "supplemented",
]

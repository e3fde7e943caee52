"""Gaussian mixtures by EM, direct gradient ascent and MCMC, compared on the same terms."""

import workbench.at_import  # before anything else, which then takes less time
import workbench.engine.compat.environment  # before anything that imports JAX
from workbench import methods, plots
from workbench.compare import Comparison, Reference, compare, summarise, table
from workbench.compare.answers import cross_table
from workbench.compare.errors import errors_of
from workbench.compare.estimates import estimates_of
from workbench.data import Dataset, Simulator, Wanted, dataset_names, load_dataset, read_file, read_table
from workbench.engine.devices import use_all_cores
from workbench.errors import InputError
from workbench.experiment import Experiment, read_experiment
from workbench.export import to_arviz
from workbench.geometry.atlas import Atlas, atlas
from workbench.jobs.atlas import load_atlases
from workbench.jobs.comparison_file import load_comparison, save_comparison
from workbench.jobs.experiment import run_experiment
from workbench.jobs.registry import load_results
from workbench.jobs.selection import load_selections, select, select_families
from workbench.jobs.study import load_studies, run_study
from workbench.jobs.table import results
from workbench.loop.trace import Trace
from workbench.methods import (
    CAVI,
    EM,
    IBIS,
    NUTS,
    SQUAREM,
    Anderson,
    FlooredEM,
    Gibbs,
    GibbsKernel,
    GradientAscent,
    Mixed,
    NaturalGradient,
    Newton,
    OnlineEM,
    OverRelaxed,
    Permuted,
    Race,
    RelaxedEM,
    Riemannian,
    StochasticAscent,
    TemperedSMC,
    Variational,
)
from workbench.mixture import (
    Background,
    BoundedRatioPrior,
    ChenTanPrior,
    ConjugatePrior,
    DiagonalLoadingPrior,
    Fixed,
    FlatPrior,
    IndependentPrior,
    Mixture,
)
from workbench.numpyro_model import latent_model, mixture_model
from workbench.posterior import PosteriorSummary, RelabelledDraws, posterior_summary, relabel
from workbench.problem import Problem
from workbench.selection import FamilySelection, Selection
from workbench.soundness import Soundness
from workbench.starts import (
    Alternating,
    Given,
    Hierarchical,
    KMeans,
    KMeansPlusPlus,
    Labellings,
    RandomPoints,
    RandomResponsibilities,
    RawKMeans,
    ShortEM,
    VariedSeeds,
)
from workbench.studies import Findings, Study
from workbench.studies.reading import read_study

__version__ = "0.1.0"

__all__ = [
    "CAVI",
    "EM",
    "IBIS",
    "NUTS",
    "SQUAREM",
    "Alternating",
    "Anderson",
    "Atlas",
    "Background",
    "BoundedRatioPrior",
    "ChenTanPrior",
    "Comparison",
    "ConjugatePrior",
    "Dataset",
    "DiagonalLoadingPrior",
    "Experiment",
    "FamilySelection",
    "Findings",
    "Fixed",
    "FlatPrior",
    "FlooredEM",
    "Gibbs",
    "GibbsKernel",
    "Given",
    "GradientAscent",
    "Hierarchical",
    "IndependentPrior",
    "InputError",
    "KMeans",
    "KMeansPlusPlus",
    "Labellings",
    "Mixed",
    "Mixture",
    "NaturalGradient",
    "Newton",
    "OnlineEM",
    "OverRelaxed",
    "Permuted",
    "PosteriorSummary",
    "Problem",
    "Race",
    "RandomPoints",
    "RandomResponsibilities",
    "RawKMeans",
    "Reference",
    "RelabelledDraws",
    "RelaxedEM",
    "Riemannian",
    "Selection",
    "ShortEM",
    "Simulator",
    "Soundness",
    "StochasticAscent",
    "Study",
    "TemperedSMC",
    "Trace",
    "Variational",
    "VariedSeeds",
    "Wanted",
    "atlas",
    "compare",
    "cross_table",
    "dataset_names",
    "errors_of",
    "estimates_of",
    "latent_model",
    "load_atlases",
    "load_comparison",
    "load_dataset",
    "load_results",
    "load_selections",
    "load_studies",
    "methods",
    "mixture_model",
    "plots",
    "posterior_summary",
    "read_experiment",
    "read_file",
    "read_study",
    "read_table",
    "relabel",
    "results",
    "run_experiment",
    "run_study",
    "save_comparison",
    "select",
    "select_families",
    "summarise",
    "table",
    "to_arviz",
    "use_all_cores",
]

workbench.at_import.resume()

"""The page and the figure of a choice of the number of components."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.plots import selection as drawing
from workbench.report.fitting import legend_of_panels
from workbench.report.page import Grid, Heading, Page, Part, Picture, Section, Shown, Words, reproduce, toml_of
from workbench.selection import CRITERIA, FamilySelection, Selection
from workbench.selection.families import PARAMETERS

COLUMNS = 4

OF_ONE = (
    "Nats below the best K, linear down to 10 and logarithmic below. The large dot is the K that the criterion "
    "chooses. A hollow dot is not eligible, for the reason given below, and is not compared with others. Bars are "
    "one standard error of the difference from that K: over the points for the held-out score, WAIC and PSIS-LOO, over "
    "independent runs for the evidence where it is sampled."
)
OF_FAMILIES = (
    "Nats below the best model of all families, linear down to 10 and logarithmic below. The large dot is the model "
    "that the criterion chooses. A hollow dot at the lower edge is not eligible, for the reason given below, and is "
    "not compared with others."
)


def show_selection(selection: Selection | FamilySelection, experiment: Mapping[str, Any]) -> Shown:
    """The page of a choice of K; `experiment` is the resolved config."""
    is_grid = isinstance(selection, FamilySelection)
    figure = selection_figure(selection)
    remarks = " ".join(selection.remarks)
    lead = [Words(remarks if isinstance(selection, FamilySelection) else f"{selection.setting}. {remarks}")]
    lead.append(Words(selection.reading, "reading"))
    by = ", by covariance family" if is_grid else ""
    lines = ", with a line for each covariance family" if is_grid else ""
    alt = f"Each criterion in a panel of its own, over the number of components{lines}. {selection.reading}"
    picture = Picture.of(figure, f"The criteria over K{by}", alt, OF_FAMILIES if is_grid else OF_ONE)
    sections = [Section(picture.title, [picture]), Section("Values", _values(selection))]
    if selection.notes:
        sections.append(Section("Warnings", [Words(tuple(selection.notes))]))
    asked = [CRITERIA[name] for name in selection.criteria]
    about = [Markup("<strong>{}</strong>: {}.").format(each.heading, each.summary) for each in asked]
    sections.append(Section("What the criteria are", [Words(tuple(about))]))
    sections.append(reproduce(_command(selection), toml_of(experiment)))
    title = f"{'Which family, and how' if is_grid else 'How'} many components: {selection.name}"
    return Shown(Page(title, lead, sections), {"selection": figure})


def _values(selection: Selection | FamilySelection) -> list[Part]:
    if isinstance(selection, FamilySelection):
        parts: list[Part] = []
        for name in selection.criteria:
            of = Grid(selection.table(name), f"{CRITERIA[name].heading} of each family and K")
            parts += [Heading(CRITERIA[name].heading), of]
        parts.append(Words(f"The best model of each criterion is starred; {OF_DASHES}.", "note"))
        return [*parts, Heading(PARAMETERS), Grid(selection.parameters, f"{PARAMETERS} of each family and K")]
    of_values = Markup(
        "The best of each column is starred; {}. <em>log L</em> is the log-likelihood of the best sound fit, "
        "and the smallest component is that of this fit, in points' worth of weight."
    )
    return [
        Grid(selection.values, "Value of each criterion for each K"),
        Words(of_values.format(OF_DASHES), "note"),
        Heading("Nats below the best K, ± the standard error of the difference"),
        Grid(selection.differences, "Difference of each K from the best"),
    ]


OF_DASHES = "a dash marks a value that is not eligible, for the reason given below"


def _command(selection: Selection | FamilySelection) -> str:
    families = [*selection.families, *selection.refused] if isinstance(selection, FamilySelection) else []
    each = [selection] if isinstance(selection, Selection) else list(selection.families.values())
    asked = sorted({choice.components for one in each for choice in one.choices})
    covariance = f" --covariance {','.join(families)}" if families else ""
    some = selection.criteria != list(CRITERIA)
    criteria = f" --criteria {','.join(selection.criteria)}" if some else ""
    return f"workbench select NAME.toml --components {','.join(map(str, asked))}{covariance}{criteria}"


def selection_figure(selection: Selection | FamilySelection) -> Figure:
    """A panel for each criterion over K, with a line for each covariance family if there are several."""
    criteria = selection.criteria
    rows = -(-len(criteria) // COLUMNS)
    columns = -(-len(criteria) // rows)
    # The legend of families has a panel that is left over, or else a line above all.
    above = isinstance(selection, FamilySelection) and rows * columns == len(criteria)
    figure = Figure(figsize=(2.9 * columns, 2.7 * rows + 0.5 * above), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, name in zip(axes, criteria, strict=False):
        if isinstance(selection, FamilySelection):
            drawing.families(ax, selection, name)
        else:
            drawing.criterion(ax, selection, name)
    for ax in axes[len(criteria) :]:
        ax.set_axis_off()
    if above:
        legend_of_panels(figure, axes[0], "above", "covariance")
    elif isinstance(selection, FamilySelection):
        axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center", frameon=False, title="covariance")
    figure.supxlabel("components K", fontsize="medium")
    figure.supylabel("nats below the best", fontsize="medium")
    return figure

"""The page: a list of sections, each made by the job that it shows, and the one template that renders them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import tomli_w
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.files import replacing
from workbench.report.figures import save_all, svg_of
from workbench.table import Table

# The prefix of links to other pages; it stands for the results folder, wherever the page lies.
HOME = "home:"

# A figure whose width exceeds its height by more than this factor is shown across the page.
WIDE = 1.6


@dataclass(frozen=True)
class Words:
    """A paragraph, or a list of several. Text is escaped; `Markup` is not."""

    kind: ClassVar[str] = "words"
    text: str | tuple[str, ...]
    style: str = ""  # "reading" for the main result, "facts" and "note" for remarks


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Grid:
    """A table, and its label for screen readers."""

    kind: ClassVar[str] = "grid"
    table: Table
    label: str
    summary: str = ""  # the heading under which the table can be folded
    is_open: bool = True


@dataclass(frozen=True)
class Picture:
    """A figure with its title, alternative text and caption."""

    kind: ClassVar[str] = "picture"
    title: str
    alt: str
    caption: str
    source: str  # data URI, so that the image keeps its own colours and names on any page
    wide: bool

    @classmethod
    def of(cls, figure: Figure, title: str, alt: str, caption: str) -> "Picture":
        """The picture of a figure."""
        width, height = figure.get_size_inches()
        source = base64.b64encode(svg_of(figure).encode()).decode()
        return cls(title, alt, caption, f"data:image/svg+xml;base64,{source}", bool(width > WIDE * height))


@dataclass(frozen=True)
class Folded:
    """Verbatim text, folded away."""

    kind: ClassVar[str] = "folded"
    summary: str
    text: str


Part = Words | Heading | Grid | Picture | Folded


@dataclass(frozen=True)
class Section:
    """A section of a page."""

    title: str
    parts: Sequence[Part]
    anchor: str = ""


@dataclass(frozen=True)
class Page:
    """The page of a job: its lead and its sections, in order."""

    title: str
    lead: Sequence[Part]
    sections: Sequence[Section]
    listed: bool = False  # whether it begins with links to its sections

    def html(self, home: str = "") -> str:
        """One HTML file that needs no other file, no network and no script.

        Args:
            home: the path from the page to the results folder, such as "../"; empty if the page lies there.
        """
        text = _template().render(page=self)
        # Quotes typed by users are escaped, so that text of theirs cannot form such a link.
        return text.replace(f'href="{HOME}', f'href="{home}')


@dataclass(frozen=True)
class Shown:
    """The page of a job, and its figures by the names of their files."""

    page: Page
    figures: Mapping[str, Figure] = field(default_factory=dict)

    def draw(self, folder: Path) -> list[Path]:
        """Write each figure to `folder/NAME.png` and return the paths."""
        return save_all(self.figures, folder)


def write(path: Path, text: str) -> None:
    """Write a page, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def toml_of(config: Mapping[str, Any]) -> str:
    """A config as TOML text."""
    return tomli_w.dumps(dict(config))


def of_picture(picture: Picture) -> Section:
    """A section that consists of a figure."""
    return Section(picture.title, [picture])


def reproduce(command: str, config: str, summary: str = "Resolved configuration", *more: Part) -> Section:
    """The section that says how to run the job again.

    Args:
        command: the command, with NAME.toml for the file of the config.
        config: the text of that file.
        summary: the heading of the config.
        more: parts above it.
    """
    how = Markup("To run this again, use <code>{}</code>, where NAME.toml holds the following.").format(command)
    return Section("Where it comes from", [*more, Words(how, "note"), Folded(summary, config)])


@lru_cache
def _template() -> Template:
    """The template of every page, which escapes all values."""
    environment = Environment(
        loader=PackageLoader("workbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")

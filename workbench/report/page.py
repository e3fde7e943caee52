"""The page: a list of sections, each made by the job that it shows, and the one template that they are rendered by."""

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

from workbench.engine.files import replacing
from workbench.report.figures import save_all, svg_of
from workbench.table import Table

# What the address of a link to another page begins with: the results folder, wherever the page lies.
HOME = "home:"

# A figure wider than this share of its height is shown across the page.
WIDE = 1.6


@dataclass(frozen=True)
class Words:
    """A paragraph, or a list of several. Text is escaped; `Markup` is not."""

    kind: ClassVar[str] = "words"
    text: str | tuple[str, ...]
    style: str = ""  # "reading" for what the page is about, "facts" and "note" for what stands beside it


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Grid:
    """A table, and what it is of, for who hears the page."""

    kind: ClassVar[str] = "grid"
    table: Table
    label: str
    summary: str = ""  # where it can be folded away
    is_open: bool = True


@dataclass(frozen=True)
class Picture:
    """A figure with its words."""

    kind: ClassVar[str] = "picture"
    title: str
    alt: str
    caption: str
    source: str  # data URI: an image keeps its own colours and names, whatever page it is in
    wide: bool

    @classmethod
    def of(cls, figure: Figure, title: str, alt: str, caption: str) -> "Picture":
        """A figure as the page holds it."""
        width, height = figure.get_size_inches()
        source = base64.b64encode(svg_of(figure).encode()).decode()
        return cls(title, alt, caption, f"data:image/svg+xml;base64,{source}", bool(width > WIDE * height))


@dataclass(frozen=True)
class Folded:
    """Text to be read as it stands, folded away."""

    kind: ClassVar[str] = "folded"
    summary: str
    text: str


Part = Words | Heading | Grid | Picture | Folded


@dataclass(frozen=True)
class Section:
    """One thing that a page says."""

    title: str
    parts: Sequence[Part]
    anchor: str = ""


@dataclass(frozen=True)
class Page:
    """What a job has to say, in order."""

    title: str
    lead: Sequence[Part]
    sections: Sequence[Section]
    listed: bool = False  # whether it begins with links to its sections

    def html(self, home: str = "") -> str:
        """One HTML file that needs no other, no network and no script.

        Args:
            home: the way from the page to the results folder, as "../"; empty where it lies there.
        """
        text = _template().render(page=self)
        # Quotes that users typed are escaped: no link is theirs.
        return text.replace(f'href="{HOME}', f'href="{home}')


@dataclass(frozen=True)
class Shown:
    """What a job has to show: its page, and its figures by the names of their files."""

    page: Page
    figures: Mapping[str, Figure] = field(default_factory=dict)

    def draw(self, folder: Path) -> list[Path]:
        """Write each figure to `folder/NAME.png` and return the paths."""
        return save_all(self.figures, folder)


def write(path: Path, text: str) -> None:
    """Write a page. A reader never sees half of it."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def toml_of(config: Mapping[str, Any]) -> str:
    """A config as the text of a file."""
    return tomli_w.dumps(dict(config))


def of_picture(picture: Picture) -> Section:
    """A section that is a figure."""
    return Section(picture.title, [picture])


def reproduce(command: str, config: str, summary: str = "Resolved configuration", *more: Part) -> Section:
    """The section that says how all this is run again.

    Args:
        command: with NAME.toml for the file that holds the config.
        config: the text of that file.
        summary: what the config is.
        more: parts above it.
    """
    how = Markup("Run again by <code>{}</code>, where NAME.toml holds the following.").format(command)
    return Section("Where it comes from", [*more, Words(how, "note"), Folded(summary, config)])


@lru_cache
def _template() -> Template:
    """The template of every page; whatever is put into it is escaped."""
    environment = Environment(
        loader=PackageLoader("workbench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")

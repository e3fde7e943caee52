"""Reads a page as a browser would, as far as tests ask: its tags, whether each is closed, and its text."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Keeps the tags with their attributes, and whether every tag is closed in turn.

    Args:
        page: HTML to be read at once.
    """

    VOID = frozenset({"meta", "img"})

    def __init__(self, page: str = "") -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def check(self) -> None:
        """Every tag is closed, every id is used once and every link into the page leads somewhere."""
        assert self.open == []
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        labelled = {attributes["aria-labelledby"] for _, attributes in self.tags if "aria-labelledby" in attributes}
        inside = {str(a["href"])[1:] for a in self.all("a") if str(a.get("href")).startswith("#")}
        assert labelled | inside <= set(ids)
        assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in self.tags}
        assert all(str(image["src"]).startswith("data:image/svg+xml;base64,") for image in self.all("img"))
        assert all(len(str(image["alt"])) > 20 for image in self.all("img"))
        assert all(header["scope"] in ("row", "col") for header in self.all("th"))
        assert len(self.all("h1")) == 1

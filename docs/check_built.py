"""Holds the built pages in site/ against docs/: sections of scripts, code blocks, pictures, links. Standard library only.

python docs/check_built.py [SITE]     exits with 1 and a sentence for each fault
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

DOCS = Path(__file__).resolve().parent
START = re.compile(r"^\s*# --8<-- \[start:(\w+)\]$")
END = re.compile(r"^\s*# --8<-- \[end:(\w+)\]$")
PICTURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
OUTSIDE = {"script", "style"}


class Page(HTMLParser):
    """Anchors, links, pictures and code blocks of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.pictures: list[str] = []
        self.blocks: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "img":
            self.pictures.append(given.get("src", ""))
        if tag == "pre":
            self.blocks.append("")
        if tag in {*OUTSIDE, "pre"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        if "pre" in self._open:
            self.blocks[-1] += data
        if not OUTSIDE & set(self._open):
            self.words.append(data)


def packed(text: str) -> str:
    """Without white space."""
    return "".join(text.split())


def sections(script: Path) -> dict[str, str]:
    """Sections of a script by name, in its order."""
    found: dict[str, list[str]] = {}
    running: list[str] = []
    for line in script.read_text("utf-8").splitlines():
        if start := START.match(line):
            running.append(start[1])
            found[start[1]] = []
        elif end := END.match(line):
            running.remove(end[1])
        else:
            for name in running:
                found[name].append(line)
    return {name: "\n".join(lines) for name, lines in found.items()}


def target(site: Path, page: Path, link: str) -> Path | None:
    """The file that a link leads to; None for other sites."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    start = site if parts.path.startswith("/") else page.parent
    place = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
    return place / "index.html" if place.is_dir() else place


def built(site: Path, source: Path) -> Path:
    """The page of a Markdown file, whether or not pages have folders of their own."""
    place = (site / source.relative_to(DOCS)).with_suffix("")
    flat = place.with_suffix(".html")
    return flat if flat.is_file() or place.name == "index" else place / "index.html"


def check_source(source: Path, page: Page, at: str) -> tuple[list[str], int]:
    """A page against its Markdown file and script: faults, and how many sections were looked for."""
    faults, text, shown = [], source.read_text("utf-8"), [packed(block) for block in page.blocks]
    fences = len(re.findall(r"^\s*```", text, re.MULTILINE)) // 2
    if len(shown) < fences:
        faults.append(f"{at} shows {len(shown)} code blocks, its Markdown has {fences}.")
    script = source.with_suffix(".py")
    wanted = sections(script) if script.is_file() else {}
    after = 0
    for name, lines in wanted.items():
        if packed(lines) not in shown:
            faults.append(f"{at} does not show section {name!r} of {script.name} whole.")
        elif packed(lines) not in shown[after:]:
            faults.append(f"{at} shows section {name!r} of {script.name} out of the script's order.")
        else:
            after += shown[after:].index(packed(lines)) + 1
    for picture in PICTURE.findall(text):
        if "://" not in picture and not (source.parent / picture).is_file():
            faults.append(f"{source.relative_to(DOCS)} refers to the picture {picture}, which is not in docs.")
    return faults, len(wanted)


def main(site: Path) -> int:
    """Checks a built site; returns an exit code."""
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    faults, counts = [], dict.fromkeys(("sections", "blocks", "pictures", "links"), 0)
    for source in sorted(DOCS.rglob("*.md")):
        path = built(site, source)
        if path in pages:
            found, looked_for = check_source(source, pages[path], str(path.relative_to(site)))
            faults += found
            counts["sections"] += looked_for
        elif source.name != "verdicts.md":  # which checks.md takes in
            faults.append(f"{source.relative_to(DOCS)} has no page in {site}.")
    for path, page in pages.items():
        at = path.relative_to(site)
        counts["blocks"] += len(page.blocks)
        faults += [f"{at}: code block {k + 1} is empty." for k, block in enumerate(page.blocks) if not packed(block)]
        if "8<" in "".join(page.words):
            faults.append(f"{at} shows the mark of a snippet (8<), which was not filled in.")
        for what, link in [*(("pictures", link) for link in page.pictures), *(("links", link) for link in page.links)]:
            if (place := target(site, path, link)) is not None:
                counts[what] += 1
                anchor = unquote(urldefrag(link).fragment)
                if not place.is_file():
                    faults.append(f"{at}: {link} leads to nothing.")
                elif anchor and place in pages and anchor not in pages[place].anchors:
                    faults.append(f"{at}: {link} leads to an anchor that is not there.")
    told = ", ".join(f"{number} {what}" for what, number in counts.items())
    print(*faults, f"{len(pages)} pages: {told} checked, {len(faults)} faults", sep="\n")
    return 1 if faults or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else DOCS.parent / "site").resolve()))

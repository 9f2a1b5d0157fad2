"""A report as one HTML file that loads nothing and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from erde_cli.core.report.document import ExitImages, ReportDocument, Table
from erde_cli.core.report.page.classes_part import classes_part
from erde_cli.core.report.page.explorer_part import explorer_part
from erde_cli.core.report.page.images_part import images_part
from erde_cli.core.report.page.markup import Markup, join, tag
from erde_cli.core.report.page.table_parts import facts, table
from erde_cli.core.report.page.trade_off_part import trade_off_part
from erde_cli.core.report.page.training_part import training_part

_FIGURE = re.compile(r"[-+−]?\d[\d.,]*(?: ?(?:%|[kMG]\b|ms\b))?(?![\w.])\s*")
_ANOTHER = re.compile(r"\d|never|always")
_SENTENCE = 45  # letters that take a line of their own
_NO_IMAGES = "Images were left out."

NO_IMAGES = '<meta name="erde-images" content="none">'  # in a page that leaves the images out
Section = tuple[str, str, Markup]  # id, heading, content


def html(document: ReportDocument, *, images: bool) -> str:
    """The page as text, to be written as UTF-8.

    Args:
        document: what it contains. All its texts are untrusted and are escaped.
        images: whether to show the calibration images.
    """
    style, script = _part("page.css"), _part("page.js")
    sections = [one for one in _sections(document, images) if one[2]]
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
            tag("meta", name_="generator", content="erde report"),
            Markup("" if images else NO_IMAGES),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name_="color-scheme", content="light dark"),
            tag("meta", name_="referrer", content="no-referrer"),
            tag("link", rel="icon", href="data:,"),
            tag("title", document.title),
            tag("style", Markup(style)),
        ),
        tag("body", _body(document, sections), tag("script", Markup(script))),
        lang="en",
    )


def _part(name: str) -> str:
    """A file of the package."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Nothing is loaded but images in the file, and nothing runs but these two texts."""
    return (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _body(document: ReportDocument, sections: Sequence[Section]) -> Markup:
    links = [tag("a", heading, href=f"#{name}") for name, heading, _ in sections]
    return join(
        tag("a", "Skip to the figures", href="#main", class_="skip"),
        tag(
            "header",
            tag("p", f"erde report · {document.kind}", class_="kind"),
            tag("h1", document.title),
            tag("button", "Dark", type="button", id="theme", hidden=True),
        ),
        tag("nav", links, aria_label="Sections") if len(links) > 1 else "",
        tag(
            "main",
            _head(document),
            [
                tag("section", tag("h2", heading), content, id=name, class_="part")
                for name, heading, content in sections
            ],
            id="main",
        ),
        tag("div", "", id="tip", role="status", hidden=True),
    )


def _head(document: ReportDocument) -> Markup:
    """Headline figures, the guarantee, and what is missing."""
    headline = [(one.name, _large_figure(one.value)) for one in document.headline]
    return join(
        facts(headline, "headline") if headline else "",
        tag("div", [tag("p", one) for one in document.guarantee], class_="guarantee")
        if document.guarantee
        else "",
        tag("ul", [tag("li", one) for one in document.missing], class_="notice")
        if document.missing
        else "",
    )


def _large_figure(value: str) -> Markup:
    """A value whose leading figure is large, and the rest small; words alone are in between."""
    found = _FIGURE.match(value)
    if found is None or _ANOTHER.match(value, found.end()):  # a sentence, or several figures
        return tag("span", value, class_="words sentence" if len(value) > _SENTENCE else "words")
    return join(tag("b", found[0].strip()), tag("span", value[found.end() :]))


def _sections(document: ReportDocument, images: bool) -> list[Section]:
    trade_off, explorer, classes = document.trade_off, document.explorer, document.classes
    if explorer is not None and len(explorer.costs) < 2:
        explorer = None  # nothing to slide
    exits = max([1 if classes is None else len(classes.confusion), *_numbers(document.images)])
    shown = images_part(document.images, exits) if images else tag("p", _NO_IMAGES, class_="note")
    empty, tables = Markup(""), document.tables
    if document.kind != "comparison":
        tables = tables[:1]  # that of the exits; the others say what the run was made from
    return [
        ("trade-off", "Trade-off", trade_off_part(trade_off) if trade_off else empty),
        ("figures", "Figures", join(_table(one) for one in tables)),
        ("sliders", "Thresholds", explorer_part(explorer, document.where) if explorer else empty),
        ("images", "Images", shown if document.images else empty),
        ("classes", "Classes", classes_part(classes) if classes else empty),
        ("training", "Training", training_part(document.training)),
        ("again", "How to make it again", _again(document, document.tables[len(tables) :])),
    ]


def _numbers(images: Sequence[ExitImages]) -> list[int]:
    return [one.exit + 1 for one in images]


def _table(one: Table) -> Markup:
    return join(
        tag("h3", one.title),
        table(one.title, one.columns, one.rows),
        tag("p", one.note, class_="note") if one.note else "",
    )


def _again(document: ReportDocument, tables: Sequence[Table]) -> Markup:
    """What the network is, how to use it, and how to make it again."""
    parts = [
        ("The network", document.about),
        ("Preprocessing", document.preprocessing),
        ("Origin", document.reproduce),
    ]
    drawn = [
        join(tag("h3", heading), facts([(one.name, one.value) for one in found], "facts"))
        for heading, found in parts
        if found
    ]
    drawn += map(_table, tables)
    if document.usage:
        where = tag("p", f"Type them {document.where}.", class_="note") if document.where else ""
        code = _code("\n".join(document.usage), "Commands")
        drawn.append(join(tag("h3", "Commands"), where, code))
    if document.license:
        drawn.append(tag("p", f"License of the weights: {document.license}"))
    if document.recipe:
        code = _code(document.recipe, "Recipe")
        drawn.append(tag("details", tag("summary", "Recipe"), code))
    return join(drawn)


def _code(text: str, name: str) -> Markup:
    return tag("pre", tag("code", text), tabindex=0, role="group", aria_label=name)

"""A report as Markdown: the model card of a bundle, or the tables of a comparison."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from erde_cli.core.figures import percent
from erde_cli.core.report.class_table import class_table
from erde_cli.core.report.document import Fact, ReportDocument, Table, TradePoint

MARKER = "<!-- erde report -->"
_TAGS = ("image-classification", "early-exit", "erde")
_NO_GUARANTEE = "No guarantee covers the thresholds."


def markdown(document: ReportDocument) -> str:
    """The report as Markdown; text of recipes, bundles and folders is shown as plain text."""
    parts = [MARKER, f"# {_plain(document.title)}"]
    if document.kind != "comparison":
        parts[:0] = [_header(document)]
    parts += [_facts(document.headline), *_section("What it is", _facts(document.about))]
    for table in document.tables:
        parts += _section(table.title, _table_of(table))
    parts += _section("Trade-off", _points(document))
    parts += _section("Classes", _table(*class_table(document.classes)) if document.classes else "")
    if document.kind != "comparison":
        sentences = [_plain(one) for one in document.guarantee] or [_NO_GUARANTEE]
        parts += _section("Guarantee", "\n\n".join(sentences))
    parts += _section("Preprocessing", _facts(document.preprocessing))
    parts += _section("How to run it", _usage(document))
    parts += _section("How to make it again", _facts(document.reproduce))
    parts += [_code(document.recipe, "yaml")] if document.recipe else []
    parts += _section("Not shown", "\n".join(f"- {_plain(one)}" for one in document.missing))
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(document: ReportDocument) -> str:
    """The YAML header that Hugging Face reads; JSON strings are YAML strings."""
    lines = ["---"]
    if document.license:
        lines.append(f"license: {json.dumps(document.license)}")
    lines += ["library_name: erde", "pipeline_tag: image-classification", "tags:"]
    lines += [f"  - {tag}" for tag in _TAGS]
    return "\n".join([*lines, "metrics:", "  - accuracy", "---"])


def _section(title: str, content: str) -> list[str]:
    return [f"## {_plain(title)}", content] if content else []


def _facts(facts: Sequence[Fact]) -> str:
    return "\n".join(f"- {_plain(one.name)}: {_plain(one.value)}" for one in facts)


def _usage(document: ReportDocument) -> str:
    code = _code("\n".join(document.usage), "sh")
    return f"Type this {_plain(document.where)}:\n\n{code}" if code and document.where else code


def _table_of(table: Table) -> str:
    text = _table(table.columns, table.rows)
    return f"{_plain(table.note)}\n\n{text}" if table.note else text


def _points(document: ReportDocument) -> str:
    section = document.trade_off
    if section is None:
        return ""
    rows = [
        (one.name, f"{one.macs:,.0f}", percent(one.accuracy), one.thresholds or "-", _held_out(one))
        for one in section.points
    ]
    return _table(("point", "MACs", "accuracy %", "thresholds", "held out, accuracy %"), rows)


def _held_out(point: TradePoint) -> str:
    return "-" if point.held_out is None else percent(point.held_out[0])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[_plain(cell) for cell in cells] for cells in (head, *rows)]
    lines.insert(1, ["---", *["---:"] * (len(head) - 1)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _code(text: str, language: str) -> str:
    """Text in a fence that is longer than any in the text."""
    if not text:
        return ""
    longest = max((len(one) for one in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{_printable(text.rstrip(), keep=chr(10))}\n{fence}"


def _plain(text: str) -> str:
    """Text that may come from strangers, with every character that Markdown knows escaped."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&@!])", r"\\\1", _printable(text))


def _printable(text: str, keep: str = "") -> str:
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)

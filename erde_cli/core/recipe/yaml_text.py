"""Read untrusted YAML: `3e-4` is a number, keys are unique text, and no code runs."""

from __future__ import annotations

import codecs
import re
from typing import Any

import yaml

from erde_cli.core.errors import Problem, RecipeError, brief

_OTHER_TYPES = {
    f"tag:yaml.org,2002:{kind}" for kind in ("bool", "int", "float", "null", "timestamp")
}
LARGEST_TEXT = 200_000  # characters, which take seconds to read; a recipe has a few thousand


class _Loader(yaml.SafeLoader):
    """The safe loader with YAML 1.2 floats. It refuses aliases and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases: a few lines of them can expand to gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Join surrogate pairs, which JSON writes as two escapes and PyYAML leaves separate."""
        value = super().construct_scalar(node)
        if not isinstance(value, str) or value.isprintable():
            return value
        try:
            return value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            return value  # an unpaired surrogate, which the schema refuses

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Read every key as text, and refuse repeated keys.

        A class can be called `no` or `1`. Of repeated keys, PyYAML silently keeps the last.
        """
        keys = set()
        for key, _ in node.value:
            if key.value in keys:
                problem = f"the key {brief(repr(key.value))} is repeated"
                raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
            keys.add(key.value)
            if key.tag in _OTHER_TYPES:
                key.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:float"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$"
        r"|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


def parse_yaml(text: str, file: str) -> Any:
    """Read YAML text; `file` is its name in messages.

    Raises:
        RecipeError: the text is not valid YAML, is too long, or contains aliases or repeated keys.
    """
    if len(text) > LARGEST_TEXT:
        rule = f"has {len(text):,} characters; the limit is {LARGEST_TEXT:,}"
        raise RecipeError([Problem(file, "", "", rule)])
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except Exception as error:
        line = _line_of(error, text)
        where = f"{file}, line {line}" if line else file
        rule = f"is not valid YAML: {_reason(error)}"
        raise RecipeError([Problem(where, "", "", rule)]) from error


def encoding_of(content: bytes) -> tuple[str, str]:
    """Encoding of a text, as messages describe it and as `iconv` names it.

    UTF-16 and UTF-32 are recognised by their byte order mark, or by the null bytes of Latin
    letters. The second string is empty if the content is not text.
    """
    marks = (
        (codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF32_BE, "UTF-32"),
        (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"),
    )  # fmt: skip
    for mark, name in marks:
        if content.startswith(mark):
            return name, name
    for start, name in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        if content[start:8:2] == bytes(4):
            return f"{name}, judging by its null bytes", name
    try:
        content.decode()
    except UnicodeDecodeError as error:
        if b"\0" in content:
            return "binary data", ""
        line = content.count(b"\n", 0, error.start) + 1
        return f"the byte {content[error.start]:#04x} in line {line}", "ISO-8859-1"
    return "UTF-8", "UTF-8"


def _line_of(error: Exception, text: str) -> int | None:
    """Line of an error, counted from 1, if it is known."""
    if isinstance(error, yaml.reader.ReaderError):
        return text.count("\n", 0, error.position) + 1
    mark = getattr(error, "problem_mark", None)
    return None if mark is None else int(mark.line) + 1


def _reason(error: Exception) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character {chr(error.character)!r} is not allowed"
    if isinstance(error, RecursionError):
        return "brackets are nested too deeply"
    reason = getattr(error, "problem", None) or f"{type(error).__name__}: {brief(str(error))}"
    return f"{reason}; indent with spaces, not tabs" if r"'\t'" in reason else reason

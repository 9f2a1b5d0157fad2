"""YAML as people mean it: `3e-4` is a number, a key stands once, and nothing runs."""

from __future__ import annotations

import re
from typing import Any

import yaml

from erde_cli.core.errors import Problem, RecipeError

_LARGEST_TEXT = 1_000_000  # characters; a recipe has a few thousand


class _Loader(yaml.SafeLoader):
    """The safe loader, with YAML 1.2 floats, without aliases and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases: a few lines of them unfold to gigabytes."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that stands twice; PyYAML keeps the last without a word."""
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                problem = f"the key {key.value!r} stands twice"
                raise yaml.MarkedYAMLError(None, None, problem, key.start_mark)
            seen.add(key.value)
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
    """Read YAML text; `file` is what messages call it.

    Raises:
        RecipeError: the text is no YAML, has aliases, or names a key twice.
    """
    if len(text) > _LARGEST_TEXT:
        rule = f"has {len(text):,} characters; a recipe has at most {_LARGEST_TEXT:,}"
        raise RecipeError([Problem(file, "", "", rule)])
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}, line {mark.line + 1}" if mark else file
        rule = getattr(error, "problem", None) or type(error).__name__
        raise RecipeError([Problem(where, "", "", f"not readable as YAML: {rule}")]) from error

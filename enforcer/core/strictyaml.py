"""The one YAML reader: walks the node tree, which knows lines, and gathers problems.

Values are what was written, never what YAML guesses: a scalar counts as a text or as a
number only if nothing in the document says otherwise. Everything that is wrong is told
at once, each with `file:line`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError, clip

MAX_PROBLEMS = 50  # listed; the rest is counted

_TAG = "tag:yaml.org,2002:"

Node = yaml.Node
Check = Callable[["YamlReader", Node], Any]


class _NoAliases(yaml.SafeLoader):
    """For documents in which lists nest: an alias could make one endless."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases are not understood here", event.start_mark
            )
        return super().compose_node(parent, index)


@dataclass
class YamlReader:
    """Reads one document, called `path` in messages, and goes on after a problem."""

    path: str
    problems: list[str] = field(default_factory=list)

    def compose(self, raw: bytes, *, aliases: bool = True) -> Node | None:
        """Return the root of the document, or None for an empty one.

        Raises:
            MalformedError: Not one YAML document in UTF-8.
        """
        loader = yaml.SafeLoader if aliases else _NoAliases
        try:
            node: Node | None = yaml.compose(raw.decode("utf-8"), Loader=loader)
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedError(
                f"{self.path} is not YAML: {clip(' '.join(str(error).split()))}",
                remedy="Mend it, or start from the example in README.md.",
            ) from error
        return node

    def problem(self, node: Node, text: str) -> None:
        """Note a problem and its line."""
        self.problems.append(f"{self.place(node)}: {text}")

    def place(self, node: Node) -> str:
        """Say where something stands: `file:line`."""
        return f"{self.path}:{node.start_mark.line + 1}"

    def mapping(
        self, node: Node, checks: Mapping[str, Check], *, required: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """Check a mapping: known keys only, each once, the required ones there."""
        found: dict[str, Any] = {}
        if not is_mapping(node):
            self.problem(node, "expected a mapping of keys to values")
            return found
        for key, value in node.value:
            name = plain(key, "str") or "?"
            if name not in checks:
                known = ", ".join(checks)
                self.problem(key, f'unknown key "{clip(name)}"; known are {known}')
            elif name in found:
                self.problem(key, f'"{name}" is there twice')
            else:
                found[name] = checks[name](self, value)
        for name in required:
            if name not in found:
                self.problem(node, f'"{name}" is missing')
        return found

    def named(self, node: Node) -> list[tuple[str, Node, Node]]:
        """Return the members of a mapping whose keys the author chose: all texts."""
        if not is_mapping(node):
            self.problem(node, "expected a mapping of names to values")
            return []
        found: dict[str, tuple[str, Node, Node]] = {}
        for key, value in node.value:
            name = plain(key, "str")
            if not name:
                self.problem(key, f"{shown(key)} is not a name")
            elif name in found:
                self.problem(key, f'"{clip(name)}" is there twice')
            else:
                found[name] = (name, key, value)
        return list(found.values())

    def items(self, node: Node) -> list[Node]:
        """Return the nodes of a list."""
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return list(node.value)
        self.problem(node, "expected a list")
        return []


def is_mapping(node: Node) -> bool:
    """Whether a node is a plain mapping."""
    return isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map"


def plain(node: Node, kind: str) -> str | None:
    """Return a scalar's text if it is of this kind, and has no tag that says else."""
    if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + kind:
        return str(node.value)
    return None


def shown(node: Node) -> str:
    """Quote a scalar; never the text of a list, which aliases may make endless."""
    is_scalar = isinstance(node, yaml.ScalarNode)
    return f'"{clip(str(node.value), limit=80)}"' if is_scalar else "a list or mapping"


def one_of(*accepted: str) -> Check:
    """Make a check for one of these texts, written exactly so."""

    def check(reader: YamlReader, node: Node) -> str:
        value = plain(node, "str")
        if value not in accepted:
            reader.problem(node, f"{shown(node)} is not one of {', '.join(accepted)}")
        return value or ""

    return check


def list_of(check: Check) -> Check:
    """Make a check for a list, every item of which passes `check`."""

    def checked(reader: YamlReader, node: Node) -> tuple[Any, ...]:
        return tuple(check(reader, item) for item in reader.items(node))

    return checked


def digest(reader: YamlReader, node: Node) -> Digest:
    """Read a digest; of nothing, where there is a problem."""
    try:
        return Digest.parse(plain(node, "str") or "")
    except MalformedError as error:
        reader.problem(node, error.what)
        return Digest.of(b"")


def listed_problems(problems: list[str]) -> str:
    """Return the problems as one text; a thousand are counted, and some told."""
    return "; ".join(problems[:MAX_PROBLEMS])

"""Requirements as written: a name, `allOf`, `anyOf` or `atLeast`, nested."""

from collections.abc import Collection
from typing import Any

from enforcer.core.errors import clip
from enforcer.core.host_policy import requirement
from enforcer.core.host_policy.requirement import Requirement
from enforcer.core.strictyaml import Check, Node, YamlReader, is_mapping, plain, shown

MAX_DEPTH = 8  # "two of these, or one of those and all of them" needs three


def parse_requirement(
    reader: YamlReader, node: Node, signers: Collection[str], *, depth: int = 1
) -> Requirement | None:
    """Read a requirement; None where there is a problem, which `reader` has then."""
    if depth > MAX_DEPTH:
        reader.problem(node, f"requirements are nested more than {MAX_DEPTH} deep")
        return None
    if not is_mapping(node):
        return _signer(reader, node, signers)
    members = reader.mapping(node, _WAYS)
    if len(members) != 1 or len(node.value) != 1:
        reader.problem(node, f"expected exactly one of {', '.join(_WAYS)}")
        return None
    ((way, value),) = members.items()
    counted, listed = _counted(reader, value) if way == "atLeast" else (None, value)
    if listed is None:
        return None
    parts = _parts(reader, listed, signers, depth)
    if not parts:
        return None
    fixed = {"allOf": len(parts), "anyOf": 1}
    return _at_least(reader, node, fixed.get(way, counted or 0), parts)


def _signer(
    reader: YamlReader, node: Node, signers: Collection[str]
) -> Requirement | None:
    name = plain(node, "str")
    if name is None:
        reader.problem(node, f"{shown(node)} is no signer and no requirement")
        return None
    if name not in signers:
        known = ", ".join(sorted(signers)[:20]) or "none"
        reader.problem(node, f'unknown signer "{clip(name)}"; known are {known}')
        return None
    return requirement.one(name)


def _counted(reader: YamlReader, node: Node) -> tuple[int, Node | None]:
    checks: dict[str, Check] = {"count": _number, "of": _keep}
    members = reader.mapping(node, checks, required=tuple(checks))
    return members.get("count", 0), members.get("of")


def _parts(
    reader: YamlReader, node: Node, signers: Collection[str], depth: int
) -> list[Requirement] | None:
    """Read every part, so that all problems are told; None if there is one."""
    items = reader.items(node)
    if not items:
        reader.problem(node, "an empty list asks for nothing; name at least one signer")
    parts = [parse_requirement(reader, i, signers, depth=depth + 1) for i in items]
    names = [plain(item, "str") for item in items]
    for item, name in zip(items, names, strict=True):
        if name is not None and names.count(name) > 1:
            reader.problem(item, f'"{clip(name)}" is listed more than once')
            return None
    found = [part for part in parts if part is not None]
    return found if len(found) == len(items) else None


def _at_least(
    reader: YamlReader, node: Node, count: int, parts: list[Requirement]
) -> Requirement | None:
    try:
        return requirement.at_least(count, parts)
    except ValueError as error:
        reader.problem(node, str(error))
        return None


def _number(reader: YamlReader, node: Node) -> int:
    text = plain(node, "int") or ""
    if not (text.isdecimal() and text.isascii() and len(text) < 4 and int(text)):
        reader.problem(node, f"{shown(node)} is not a number from 1 to 999")
        return 0
    return int(text)


def _keep(_: YamlReader, node: Node) -> Any:
    return node


_WAYS: dict[str, Check] = {"allOf": _keep, "anyOf": _keep, "atLeast": _keep}

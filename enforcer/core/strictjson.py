"""The one JSON parser. What two readers could read differently is an error.

Go, which every engine here is written in, matches member names regardless of
case and lets the last duplicate win; Python does neither. So duplicates, names
that differ from an expected one only by case, trailing data, byte order marks
and numbers out of range are refused rather than guessed at.
"""

import json
import math
import re
import unicodedata
from collections.abc import Collection

from enforcer.core.errors import MalformedError, TooLargeError, clip

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

MAX_DEPTH = 64  # OCI manifests need 4, image configurations 5
MAX_DIGITS = 19  # a 64-bit size

# Possessive, and the closing quote optional: linear on any input.
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def parse_json(raw: bytes, *, what: str, max_bytes: int) -> Json:
    """Read one JSON document: UTF-8, no duplicate names, nothing after it.

    `what` names the document in errors.

    Raises:
        TooLargeError: More than `max_bytes`.
        MalformedError: Anything else that is wrong with it.
    """
    if len(raw) > max_bytes:
        raise TooLargeError(
            f"{what} has {len(raw)} bytes, more than {max_bytes}",
            remedy="Nothing that large is read.",
        )
    _check_depth(raw, what)
    try:
        text = raw.decode("utf-8")
        value: Json = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
        if b"\\u" in raw:  # the only way to write one, as the bytes are UTF-8
            # A lone surrogate (\ud800) is text here and something else in Go.
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            f"{what} is not valid JSON: {clip(str(error))}",
            remedy="It must be one UTF-8 JSON document without duplicate names.",
        ) from error
    return value


def require_object(
    value: Json, *, what: str, known: Collection[str] = ()
) -> dict[str, Json]:
    """Return `value` as an object whose `known` members are spelt exactly.

    Other members may be there (specifications allow extension), but not one
    that a case-insensitive reader would take for a known one.

    Raises:
        MalformedError: Not an object, or a look-alike member name.
    """
    if not isinstance(value, dict):
        raise MalformedError(f"{what} is not a JSON object", remedy="Expected { … }.")
    strange = [name for name in value if name not in known]  # most often none
    folded = {_fold(name): name for name in known} if strange else {}
    for name in strange:
        expected = folded.get(_fold(name))
        if expected is not None:
            raise MalformedError(
                f'{what} has a member "{clip(name)}" that differs from '
                f'"{expected}" only by case',
                remedy=f'Write it "{expected}".',
            )
    return value


def require_text(members: dict[str, Json], name: str, *, what: str) -> str:
    """Return the string member `name`, or raise MalformedError."""
    value = members.get(name)
    if not isinstance(value, str):
        raise MalformedError(
            f'{what} has no text member "{name}"', remedy="It is required."
        )
    return value


def _fold(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _no_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f'duplicate name "{clip(name)}"')
            seen.add(name)
    return members


def _no_constant(text: str) -> Json:
    raise ValueError(f"{text} is not JSON")


def _bounded_int(text: str) -> int:
    if len(text) > MAX_DIGITS + 1:
        raise ValueError("number out of range")
    return int(text)


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value


def _check_depth(raw: bytes, what: str) -> None:
    """Count brackets outside strings, so that the real parser never recurses far."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return  # too few to be nested too deep, strings or not
    depth = 0
    for token in _STRUCTURE.finditer(raw):
        first = token.group()[:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise MalformedError(
                    f"{what} is nested more than {MAX_DEPTH} deep",
                    remedy="No specification needs that.",
                )
        elif first in b"]}":
            depth -= 1

"""The words of a policy file: names, reasons, times, lists that stand alone."""

import re
from datetime import UTC, datetime, timedelta

from enforcer.core.certificate import SignatureAlgorithm
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.revocation_rules import OnStale, RevocationRules
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.core.strictyaml import (
    Check,
    Node,
    YamlReader,
    digest,
    is_mapping,
    one_of,
    plain,
    shown,
)

MAX_TEXT = 500  # a reason is a sentence and a ticket
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DURATION = re.compile(r"([1-9][0-9]{0,3})([dh])")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def node(_: YamlReader, found: Node) -> Node:
    """Keep a node for later, when the rest of the policy is known."""
    return found


def name(reader: YamlReader, found: Node) -> str:
    """Read the name of a signer, a statement or a role."""
    text = plain(found, "str") or ""
    if not _NAME.fullmatch(text):
        reader.problem(
            found,
            f"{shown(found)} is not a name; expected letters, digits, dot, hyphen and "
            "underscore, at most 64",
        )
    return text


def text(reader: YamlReader, found: Node) -> str:
    """Read a sentence for people."""
    value = plain(found, "str") or ""
    if not value.strip() or len(value) > MAX_TEXT or not value.isprintable():
        reader.problem(
            found,
            f"{shown(found)} is not a text of 1 to {MAX_TEXT} printable characters; "
            "put numbers and dates in quotes",
        )
    return value


def time(reader: YamlReader, found: Node) -> datetime:
    """Read `2027-06-01`, which is its first moment in UTC, or RFC 3339."""
    value = plain(found, "timestamp") or plain(found, "str") or ""
    whole = f"{value}T00:00:00Z" if _DATE.fullmatch(value) else value
    try:
        return parse_rfc3339(whole)
    except MalformedError:
        reader.problem(
            found, f"{shown(found)} is not a date (2027-06-01) or RFC 3339 time"
        )
        return EPOCH


def duration(reader: YamlReader, found: Node) -> timedelta:
    """Read `30d` or `12h`."""
    match = _DURATION.fullmatch(plain(found, "str") or "")
    if match is None:
        reader.problem(found, f"{shown(found)} is not a number of days or hours: 30d")
        return timedelta(days=1)
    number = int(match[1])
    return timedelta(days=number) if match[2] == "d" else timedelta(hours=number)


def sha256(reader: YamlReader, found: Node) -> Digest:
    """Read a digest that we can compute ourselves, of a key or of what was signed."""
    value = digest(reader, found)
    if value.algorithm != "sha256":
        reader.problem(found, f"{shown(found)} is not a sha256 digest")
    return value


def revocation(reader: YamlReader, found: Node) -> RevocationRules:
    """Read `{maxAge: 7d, onStale: deny}`."""
    checks: dict[str, Check] = {"maxAge": duration, "onStale": one_of(*OnStale)}
    members = reader.mapping(found, checks)
    on_stale = members.get("onStale")
    known = on_stale if on_stale in tuple(OnStale) else OnStale.DENY
    return RevocationRules(members.get("maxAge"), OnStale(known))


def algorithms(
    reader: YamlReader, found: Node
) -> dict[SignatureAlgorithm, datetime | None]:
    """Read which algorithms count: `[ES384, {name: PS256, notAfter: 2028-01-01}]`."""
    known = one_of(*SignatureAlgorithm)
    checks: dict[str, Check] = {"name": known, "notAfter": time}
    counted: dict[SignatureAlgorithm, datetime | None] = {}
    for item in reader.items(found):
        members = (
            reader.mapping(item, checks, required=("name",))
            if is_mapping(item)
            else {"name": known(reader, item)}
        )
        value = members.get("name")
        if value not in tuple(SignatureAlgorithm):
            continue
        if value in counted:
            reader.problem(item, f"{value} is listed twice")
        counted[SignatureAlgorithm(value)] = members.get("notAfter")
    if not counted:
        reader.problem(found, "no algorithm counts; leave the list out if all do")
    return counted

"""A decision of the past, read back from its line in the audit log.

The line may have been written by an older version, or by whoever wants to be believed:
everything is checked and made safe to show, and nothing of it lets anything start.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.findings import Action, Check, Finding, Result, SignatureReport
from enforcer.core.record import DecisionRecord
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.core.strictjson import Json, require_object, require_text
from enforcer.core.subject import Subject

MAX_MESSAGE = 2000  # characters, as decisions are written

_T = TypeVar("_T")
_WHAT = "the line of the audit log"


def parse_record(members: dict[str, Json]) -> DecisionRecord:
    """Read what `audit_json` wrote. Names to judge under and targets are not in it.

    Raises:
        MalformedError: It is no such line, or one of a newer version.
    """
    reference = _text(members, "reference", limit=1000)
    return DecisionRecord(
        id=_text(members, "id"),
        decision=Decision(
            allowed=members.get("allowed") is True,
            code=_word(members, "code", Code),
            message=_text(members, "message", limit=MAX_MESSAGE),
            statement=_text(members, "statement"),
            signatures=tuple(
                _signature(item) for item in _items(members, "signatures")
            ),
        ),
        asked_by=_text(members, "asked_by"),
        reference=reference,
        container=_text(members, "container"),
        subject=_subject(reference, members.get("subject")),
        mode=_text(members, "mode"),
        policy=_digest(members, "policy"),
        at=parse_rfc3339(require_text(members, "time", what=_WHAT)),
        duration_ms=_number(members, "duration_ms"),
    )


def _signature(members: dict[str, Json]) -> SignatureReport:
    vouches = members.get("vouchesFor")
    digest = _digest(members, "digest")
    if digest is None:
        raise _malformed("a signature without a digest")
    return SignatureReport(
        digest=digest,
        format=_text(members, "format"),
        signer=_text(members, "signer", limit=2000),
        findings=tuple(_finding(item) for item in _items(members, "checks")),
        key=_digest(members, "key"),
        signed=_digest(members, "signed"),
        vouches_for=tuple(
            clip(name)
            for name in (vouches if isinstance(vouches, list) else ())
            if isinstance(name, str)
        ),
    )


def _finding(members: dict[str, Json]) -> Finding:
    return Finding(
        check=_word(members, "name", Check),
        result=_word(members, "result", Result),
        action=_word(members, "action", Action),
        code=_word(members, "code", Code),
        because=_text(members, "message", limit=MAX_MESSAGE),
    )


def _subject(shown: str, value: Json) -> Subject | None:
    members = require_object(value, what=_WHAT)
    if not members:
        return None
    names = ("index", "manifest", "config", "chain_id")
    index, manifest, config, chain_id = (_digest(members, name) for name in names)
    return Subject(shown, (), (), index, manifest, config, chain_id)


def _items(members: dict[str, Json], name: str) -> Iterator[dict[str, Json]]:
    found = members.get(name)
    if not isinstance(found, list):
        raise _malformed(f"{name} that are no list")
    return (require_object(item, what=_WHAT) for item in found)


def _text(members: dict[str, Json], name: str, *, limit: int = 200) -> str:
    return clip(require_text(members, name, what=_WHAT), limit=limit)


def _digest(members: dict[str, Json], name: str) -> Digest | None:
    """Return a digest; None where there is none."""
    found = members.get(name, "")
    return None if found == "" else Digest.parse(_text(members, name))


def _word(members: dict[str, Json], name: str, kind: Callable[[str], _T]) -> _T:
    found = _text(members, name)
    try:
        return kind(found)
    except ValueError as error:
        raise _malformed(
            f'{name} "{found}", which this version does not know'
        ) from error


def _number(members: dict[str, Json], name: str) -> float:
    found = members.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise _malformed(f"{name} that is no number")
    return float(found)


def _malformed(what: str) -> EnforcerError:
    return MalformedError(
        f"{_WHAT} has {what}", remedy="`enforcer log --verify` says whether it is ours."
    )

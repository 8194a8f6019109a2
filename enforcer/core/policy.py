"""The Notation trust policy document: whom this host trusts, for what, how strictly.

Follows trust-store-trust-policy.md, "Trust Policy", for OCI artifacts. Reports every
problem at once; a document with one problem is no policy.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.findings import Action, Check
from enforcer.core.identity import Identity, parse_identity
from enforcer.core.level import (
    LEVEL_NAMES,
    OVERRIDES,
    VerificationLevel,
    is_at_least,
)
from enforcer.core.policy_lines import statement_lines
from enforcer.core.statement import (
    GLOBAL_SCOPE,
    Statement,
    StoreName,
    StoreType,
    TrustPolicy,
    VerifyTimestamp,
)
from enforcer.core.strictjson import Json, parse_json, require_object

__all__ = [
    "MAX_POLICY_BYTES",
    "PolicyInvalidError",
    "Statement",
    "StoreName",
    "StoreType",
    "TrustPolicy",
    "VerificationLevel",
    "VerifyTimestamp",
    "is_at_least",
    "parse_trust_policy",
]

MAX_POLICY_BYTES = 1024 * 1024  # five thousand statements
MAX_PROBLEMS = 50  # listed; the rest is counted

# The distribution project's grammar: a host, at least one path part, no tag.
_HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_SCOPE = re.compile(rf"{_HOST}(?:\.{_HOST})*(?::[0-9]+)?(?:/{_PART})+")

_DOCUMENT = ("version", "trustPolicies")
_STATEMENT = (
    "name",
    "registryScopes",
    "signatureVerification",
    "trustStores",
    "trustedIdentities",
)
_VERIFICATION = ("level", "override", "verifyTimestamp")


class PolicyInvalidError(EnforcerError):
    """A policy cannot be used; the text lists every problem, as does `problems`."""

    default_code = Code.POLICY_INVALID

    def __init__(self, what: str, *, remedy: str, problems: Sequence[str] = ()) -> None:
        super().__init__(what, remedy=remedy)
        self.problems = tuple(problems)


def parse_trust_policy(raw: bytes) -> TrustPolicy:
    """Read `trustpolicy.oci.json` or `trustpolicy.json`.

    Raises:
        PolicyInvalidError: With every problem the document has.
    """
    try:
        value = parse_json(raw, what="the trust policy", max_bytes=MAX_POLICY_BYTES)
    except EnforcerError as error:
        raise PolicyInvalidError(error.what, remedy=error.remedy) from error
    reader = _Reader(statement_lines(raw))
    statements = reader.document(value)
    if reader.problems:
        raise _invalid(reader.problems)
    return TrustPolicy(statements, Digest.of(raw), tuple(reader.warnings))


def _invalid(problems: Sequence[str]) -> PolicyInvalidError:
    count = len(problems)
    listed = "; ".join(problems[:MAX_PROBLEMS])
    return PolicyInvalidError(
        f"the trust policy has {count} problem{'s' * (count > 1)}: {listed}",
        remedy="Nothing is trusted until all of it is right.",
        problems=problems,
    )


class _Reader:
    """Reads on after a problem, so that all of them are told at once."""

    def __init__(self, lines: Sequence[int]) -> None:
        self._lines = lines
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def document(self, value: Json) -> tuple[Statement, ...]:
        members = self._members(value, "the document", _DOCUMENT)
        if members.get("version") != "1.0":
            self.problems.append('version must be "1.0"')
        listed = members.get("trustPolicies")
        if not isinstance(listed, list) or not listed:
            self.problems.append("trustPolicies must list at least one statement")
            return ()
        read = [self._placed(item, n) for n, item in enumerate(listed, start=1)]
        statements = tuple(statement for statement in read if statement)
        self._across(listed)
        return statements

    def _across(self, listed: list[Json]) -> None:
        """Check what must differ between statements: names and scopes (T2, T3)."""
        items = [item for item in listed if isinstance(item, dict)]
        names = Counter(str(item.get("name")) for item in items if item.get("name"))
        scopes: Counter[str] = Counter()
        for item in items:
            found = item.get("registryScopes")
            scopes.update(map(str, found if isinstance(found, list) else ()))
        for kind, counted in (("the name", names), ("the scope", scopes)):
            for text, count in counted.items():
                if count > 1:
                    shown = clip(text)
                    self.problems.append(f'{kind} "{shown}" is used {count} times')

    def _placed(self, value: Json, number: int) -> Statement | None:
        """Read a statement; what is wrong with it is told with its line."""
        before = len(self.problems)
        found = self._statement(value, number)
        if number <= len(self._lines):
            line = self._lines[number - 1]
            told = [f"line {line}: {problem}" for problem in self.problems[before:]]
            self.problems[before:] = told
        return found

    def _statement(self, value: Json, number: int) -> Statement | None:
        before = len(self.problems)
        members = self._members(value, f"statement #{number}", _STATEMENT)
        name = members.get("name")
        if not isinstance(name, str) or not name:
            self.problems.append(f"statement #{number} must have a name")
            name = f"#{number}"
        what = f'statement "{clip(name, limit=60)}"'
        scopes = self._scopes(members.get("registryScopes"), what)
        level, verify_timestamp = self._verification(
            members.get("signatureVerification"), what
        )
        skip = level is not None and level.is_skip
        stores = self._stores(
            self._trusted(members, "trustStores", what, skip=skip), what
        )
        identities = self._identities(
            self._trusted(members, "trustedIdentities", what, skip=skip), what
        )
        if level is None or len(self.problems) > before:
            return None
        if skip and GLOBAL_SCOPE in scopes:  # TP303 forbids it, notation allows it
            self.warnings.append(f"{what} verifies nothing, whatever the image")
        return Statement(name, scopes, level, verify_timestamp, stores, identities)

    def _scopes(self, value: Json, what: str) -> tuple[str, ...]:
        scopes = self._texts(value, f"{what}: registryScopes")
        if GLOBAL_SCOPE in scopes and len(scopes) > 1:
            self.problems.append(f'{what}: the scope "*" must stand alone')
        for scope in scopes:
            if scope != GLOBAL_SCOPE and not _SCOPE.fullmatch(scope):
                self.problems.append(
                    f'{what}: the scope "{clip(scope)}" is not a repository such as '
                    'registry.example.com/team/app (no tag, no wildcard), nor "*"'
                )
        return scopes

    def _verification(
        self, value: Json, what: str
    ) -> tuple[VerificationLevel | None, VerifyTimestamp]:
        what = f"{what}: signatureVerification"
        members = self._members(value, what, _VERIFICATION)
        when = members.get("verifyTimestamp", "")
        when = VerifyTimestamp.ALWAYS if when == "" else when  # T7
        if when not in tuple(VerifyTimestamp):
            self.problems.append(
                f"{what}: verifyTimestamp must be always or afterCertExpiry"
            )
            when = VerifyTimestamp.ALWAYS
        level = members.get("level")
        overrides = self._overrides(members.get("override", {}), what)
        if not isinstance(level, str) or level not in LEVEL_NAMES:
            self.problems.append(f"{what}: level must be one of {_or(LEVEL_NAMES)}")
            return None, VerifyTimestamp(str(when))
        if level == "skip" and overrides:
            self.problems.append(f"{what}: level skip cannot have an override")
            overrides = {}
        return VerificationLevel.named(level, overrides), VerifyTimestamp(str(when))

    def _overrides(self, value: Json, what: str) -> dict[Check, Action]:
        overrides: dict[Check, Action] = {}
        if not isinstance(value, dict):
            self.problems.append(f"{what}: override must be an object")
            return overrides
        for name, action in value.items():
            check = next((c for c in OVERRIDES if c == name), None)
            allowed = OVERRIDES[check] if check else ()
            if check is None:
                self.problems.append(
                    f'{what}: override of "{clip(name)}"; only {_or(OVERRIDES)} '
                    "can be overridden"
                )
            elif action not in allowed:
                self.problems.append(f"{what}: {name} must be {_or(allowed)}")
            else:
                overrides[check] = Action(str(action))
        return overrides

    def _trusted(
        self, members: dict[str, Json], key: str, what: str, *, skip: bool
    ) -> tuple[str, ...]:
        """Read a list that every statement needs, and a skipping one must not have."""
        if not skip:
            return self._texts(members.get(key), f"{what}: {key}")
        if members.get(key):  # T8
            self.problems.append(f"{what}: level skip, so {key} must not be there")
        return ()

    def _stores(self, texts: tuple[str, ...], what: str) -> tuple[StoreName, ...]:
        found: dict[StoreName, None] = {}
        for text in texts:
            type_, _, name = text.partition(":")
            if type_ not in tuple(StoreType):
                self.problems.append(
                    f'{what}: trust store "{clip(text)}" must be TYPE:NAME, '
                    f"the type one of {_or(StoreType)}"
                )
                continue
            try:
                found[StoreName(StoreType(type_), name)] = None
            except MalformedError as error:
                self.problems.append(f"{what}: {error.what}")
        return tuple(found)

    def _identities(self, texts: tuple[str, ...], what: str) -> tuple[Identity, ...]:
        found: list[Identity] = []
        for text in texts:
            try:
                found.append(parse_identity(text))
            except MalformedError as error:
                self.problems.append(f"{what}: {error.what}")
        if len(texts) > 1 and "*" in texts:
            self.problems.append(f'{what}: the identity "*" must stand alone')
        for one, other in itertools.combinations(found, 2):
            if one.overlaps(other):
                self.problems.append(
                    f'{what}: "{clip(one.text)}" and "{clip(other.text)}" overlap'
                )
        for identity in found:
            if identity.unmatchable:
                shown = clip(identity.text)
                self.warnings.append(f'{what}: "{shown}" matches no certificate')
        return tuple(found)

    def _texts(self, value: Json, what: str) -> tuple[str, ...]:
        texts = value if isinstance(value, list) else []
        found = [text for text in texts if isinstance(text, str) and text]
        if not found or len(found) != len(texts):
            self.problems.append(f"{what} must list at least one text, none empty")
        return tuple(found)

    def _members(self, value: Json, what: str, known: Sequence[str]) -> dict[str, Json]:
        """Return an object's members; names that only look known are problems.

        Unknown ones are allowed, as in notation, but never silently: a mistyped
        `overide` changes what is verified.
        """
        if not isinstance(value, dict):
            self.problems.append(f"{what} must be an object")
            return {}
        for name in value:
            if name in known:
                continue
            try:
                require_object({name: None}, what=what, known=known)
                self.warnings.append(f'{what}: "{clip(name)}" is unknown and ignored')
            except MalformedError as error:
                self.problems.append(error.what)
        return value


def _or(names: Iterable[str]) -> str:
    return ", ".join(str(name) for name in names)

"""`policy.d/*.yaml` into one host policy, or every problem at once with its line.

Drop-ins add up: signers, statements, deny lists, exemptions and mirrors of all files
count. What can only be said once (`always`, `expiry`, ...) is an error when said twice.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from enforcer.core.conditions import Conditions, Denial, DenyList
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.host_policy import words
from enforcer.core.host_policy.parse_requirement import parse_requirement
from enforcer.core.host_policy.parse_signer import parse_signer
from enforcer.core.host_policy.policy import (
    ALWAYS,
    Demand,
    Exemption,
    HostPolicy,
    Mirror,
)
from enforcer.core.host_policy.scope import Scope, parse_scope
from enforcer.core.policy import PolicyInvalidError
from enforcer.core.revocation_rules import NOTATION_RULES
from enforcer.core.statement import Statement
from enforcer.core.strictyaml import (
    Check,
    Node,
    YamlReader,
    digest,
    list_of,
    listed_problems,
    one_of,
    plain,
    shown,
)

API_VERSION = "enforcer/v1"
EXPIRY = ("now", "floor", "authentic-time")
_DENIABLE = ("image", "signature", "key")

_Named = tuple[YamlReader, str, Node, Node]


def parse_host_policy(files: Sequence[tuple[str, bytes]]) -> HostPolicy:
    """Read all files of a host policy, each with the name to call it by.

    Raises:
        PolicyInvalidError: With every problem, as `file:line: what`.
    """
    merger = _Merger()
    for path, raw in files:
        merger.take(path, raw)
    policy = merger.policy(_digest(files))
    if merger.problems or policy is None:
        problems = merger.problems
        raise PolicyInvalidError(
            f"the host policy has {len(problems)} problem{'s' * (len(problems) > 1)}: "
            f"{listed_problems(problems)}",
            remedy="Nothing is trusted until all of it is right; `enforcer policy "
            "check` reads it without putting it in force.",
            problems=problems,
        )
    return policy


def _digest(files: Sequence[tuple[str, bytes]]) -> Digest:
    """Name the whole: what each file is called and holds, wherever they lie."""
    lines = [f"{Digest.of(raw)} {path.rpartition('/')[2]}\n" for path, raw in files]
    return Digest.of("".join(lines).encode("utf-8", "surrogateescape"))


class _Merger:
    """Gathers what all files say, and judges it only when all of it is known."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._signers: dict[str, _Named] = {}
        self._once: dict[str, Any] = {}
        self._places: dict[str, str] = {}  # of what may be said only once
        self._statements: list[tuple[YamlReader, Node]] = []
        self._denied: dict[str, dict[Digest, Denial]] = {k: {} for k in _DENIABLE}
        self._exemptions: list[Exemption] = []
        self._mirrors: list[Mirror] = []
        self._unread = False  # then nothing can be missed: it may stand there

    def take(self, path: str, raw: bytes) -> None:
        """Read one file as far as that goes without the others."""
        reader = YamlReader(path, self.problems)
        try:
            root = reader.compose(raw, aliases=False)
        except MalformedError as error:
            self.problems.append(error.what)
            self._unread = True
            return
        if root is None:
            self.problems.append(f"{path}:1: the file is empty; remove it")
            return
        checks: dict[str, Check] = {
            "apiVersion": one_of(API_VERSION),
            "signers": self._take_signers,
            "always": self._said_once("always", lambda r, n: (r, n)),
            "statements": lambda r, n: self._statements.extend(
                (r, item) for item in r.items(n)
            ),
            "revocation": self._said_once("revocation", words.revocation),
            "expiry": self._said_once("expiry", one_of(*EXPIRY)),
            "onDenied": self._said_once("onDenied", one_of("report", "stop")),
            "algorithms": self._said_once("algorithms", words.algorithms),
            "deny": list_of(self._deny),
            "exempt": list_of(self._exempt),
            "mirrors": list_of(self._mirror),
        }
        reader.mapping(root, checks, required=("apiVersion",))

    def policy(self, digest_: Digest) -> HostPolicy | None:
        """Put it all together; None where there are problems."""
        lists = DenyList(*(self._denied[kind] for kind in _DENIABLE))
        common = Conditions(
            algorithms=self._value("algorithms", {}),
            authentic_expiry=self._value("expiry", "now") == "authentic-time",
            revocation=self._value("revocation", NOTATION_RULES),
            denied=lists,
        )
        signers: dict[str, Statement] = {}
        for reader, name, _, node in self._signers.values():
            signer = parse_signer(reader, name, node, common)
            if signer is not None:
                signers[name] = signer
        statements = tuple(self._demands())
        always = self._always_demand()
        if self.problems or always is None:
            return None
        return HostPolicy(
            signers=signers,
            always=always,
            statements=statements,
            digest=digest_,
            denied=lists,
            exemptions=tuple(self._exemptions),
            mirrors=tuple(self._mirrors),
            at_floor=self._value("expiry", "now") == "floor",
            stops=self._value("onDenied", "report") == "stop",
            warnings=tuple(self._warnings(always, statements)),
        )

    def _always_demand(self) -> Demand | None:
        if "always" not in self._once:
            if not self._unread:
                self.problems.append(
                    "`always` is missing: say who must have signed whatever the name"
                )
            return None
        reader, node = self._once["always"]
        found = parse_requirement(reader, node, self._signers)
        return None if found is None else Demand(ALWAYS, found, reader.place(node))

    def _demands(self) -> Iterator[Demand]:
        if not self._statements and not self._unread:
            self.problems.append("`statements` is missing: no image could start")
        for reader, node in self._statements:
            checks: dict[str, Check] = {
                "name": self._statement_name,
                "scopes": list_of(self._scope),
                "require": words.node,
            }
            found = reader.mapping(node, checks, required=tuple(checks))
            if found.get("scopes") == ():
                reader.problem(node, "scopes is empty, so no name falls under it")
            if "require" not in found:
                continue
            required = parse_requirement(reader, found["require"], self._signers)
            if required is not None and len(found) == len(checks):
                scopes = tuple(scope for scope in found["scopes"] if scope)
                yield Demand(found["name"], required, reader.place(node), scopes)

    def _warnings(
        self, always: Demand, statements: tuple[Demand, ...]
    ) -> Iterator[str]:
        used = {n for d in (always, *statements) for n in d.requirement.names}
        for name, (reader, _, key, _) in self._signers.items():
            if name not in used:
                yield f"{reader.place(key)}: nothing requires the signer {name}"

    def _value(self, key: str, default: Any) -> Any:
        return self._once.get(key, default)

    def _said_once(self, key: str, check: Check) -> Check:
        def checked(reader: YamlReader, node: Node) -> None:
            self._claim(f"`{key}`", reader, node)
            self._once.setdefault(key, check(reader, node))

        return checked

    def _claim(self, what: str, reader: YamlReader, node: Node) -> None:
        """Note a problem, naming both places, where something is said twice."""
        if what in self._places:
            reader.problem(node, f"{what} is at {self._places[what]} already")
        else:
            self._places[what] = reader.place(node)

    def _take_signers(self, reader: YamlReader, node: Node) -> None:
        for name, key, value in reader.named(node):
            words.name(reader, key)
            self._claim(f'signer "{name}"', reader, key)
            self._signers.setdefault(name, (reader, name, key, value))

    def _statement_name(self, reader: YamlReader, node: Node) -> str:
        name = words.name(reader, node)
        if name == ALWAYS:
            reader.problem(node, f'"{ALWAYS}" is what holds for every name already')
        self._claim(f'statement "{name}"', reader, node)
        return name

    def _scope(self, reader: YamlReader, node: Node) -> Scope | None:
        scope = _scope(reader, node)
        if scope is None:
            return None
        # Two equally specific scopes: an image must not fall under whichever is first.
        self._claim(f"the scope {scope.text}", reader, node)
        return scope

    def _deny(self, reader: YamlReader, node: Node) -> None:
        checks: dict[str, Check] = {
            "image": digest,
            "signature": words.sha256,
            "key": words.sha256,
            "since": words.time,
            "reason": words.text,
        }
        found = reader.mapping(node, checks, required=("since", "reason"))
        kinds = [kind for kind in _DENIABLE if kind in found]
        if len(kinds) != 1:
            reader.problem(node, f"expected exactly one of {', '.join(_DENIABLE)}")
        elif "since" in found and "reason" in found:
            denial = Denial(found["since"], found["reason"])
            self._denied[kinds[0]][found[kinds[0]]] = denial

    def _exempt(self, reader: YamlReader, node: Node) -> None:
        checks: dict[str, Check] = {
            "digest": digest,
            "role": words.name,
            "reason": words.text,
            "until": words.time,
        }
        found = reader.mapping(node, checks, required=tuple(checks))
        if len(found) == len(checks):
            self._exemptions.append(Exemption(**found))

    def _mirror(self, reader: YamlReader, node: Node) -> None:
        checks: dict[str, Check] = {"prefix": _scope, "of": _scope}
        found = reader.mapping(node, checks, required=tuple(checks))
        prefix, of = found.get("prefix"), found.get("of")
        for scope in (prefix, of):
            if scope is not None and not scope.is_prefix:
                reader.problem(node, f'"{scope.text}" is not a prefix ending in /*')
        if prefix and of:
            self._mirrors.append(Mirror(prefix, of))


def _scope(reader: YamlReader, node: Node) -> Scope | None:
    try:
        return parse_scope(plain(node, "str") or "")
    except MalformedError as error:
        written = error.what if plain(node, "str") else f"{shown(node)} is no scope"
        reader.problem(node, f"{written}. {error.remedy}".rstrip("."))
        return None


__all__ = ["API_VERSION", "EXPIRY", "parse_host_policy"]

"""`trust remove`: take certificates out of a trust store, and say who needs it.

To empty a store that the policy names, or may name, refuses all that needs it: that
takes `--yes`.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from enforcer.assembly import load_policy
from enforcer.cli.main import DONE, UsageError
from enforcer.cli.output import is_json, print_json, settings_of
from enforcer.cli.trust_listed import described, listed
from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.host_policy import HostPolicy
from enforcer.core.policy import StoreName, StoreType, TrustPolicy
from enforcer.core.truststore import TrustStoreMissingError
from enforcer.files import FileError, FileMissingError, remove_file
from enforcer.settings import Settings
from enforcer.sources.trust import survey_store

_SEE = "`enforcer trust list` shows what there is."


@dataclass(frozen=True, slots=True)
class _StoreFile:
    """A file of a store; no certificates where `problem` says why."""

    path: Path
    certificates: tuple[dict[str, str], ...]
    digests: tuple[frozenset[str], ...]  # of each: of its key, and its own
    problem: str

    def is_named(self, name: str) -> bool:
        """Whether this is the file, or holds the certificate; raise if others, too."""
        if self.path.name == name:
            return True
        held = [name in both for both in self.digests]
        if any(held) and not all(held):
            raise FileError(
                f"{self.path} holds {len(held)} certificates, others than this, too",
                remedy="Name the file, to remove all of them.",
            )
        return any(held)


@dataclass(frozen=True, slots=True)
class _Removal:
    """What goes, what stays, and who in the policy names the store.

    `still` are other places that trust a key that goes; with a `problem` nobody knows
    who names the store.
    """

    store: StoreName
    gone: tuple[_StoreFile, ...]
    kept: tuple[_StoreFile, ...]
    still: tuple[dict[str, str], ...]
    signers: tuple[str, ...]
    statements: tuple[str, ...]
    problem: str

    @property
    def left(self) -> int:
        """How many certificates the store keeps."""
        return sum(len(file.certificates) for file in self.kept)

    @property
    def needs(self) -> str:
        """Who names the store, for people; empty if nobody does."""
        if self.problem:
            return f"nobody knows who needs it, without a policy: {self.problem}"
        if not self.signers and not self.statements:
            return ""
        by = f" (by signer {', '.join(self.signers)})" if self.signers else ""
        named = ", ".join(self.statements) or "in no statement"
        return f"the policy needs it: {named}{by}"

    @property
    def objection(self) -> str:
        """Why not to do it without being asked twice; empty if nothing is lost."""
        lost = any(file.certificates for file in self.gone) and not self.left
        return self.needs if lost else ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the word takes, beside the store."""
    parser.add_argument(
        "certificate",
        nargs="+",
        help="file name in the store, or the key as `trust list -o json` shows it, or "
        "the sha256:... of the certificate",
    )
    parser.add_argument("--dry-run", action="store_true", help="show all, change none")
    parser.add_argument(
        "--yes", action="store_true", help="also if the policy needs what is emptied"
    )


def run(arguments: argparse.Namespace) -> int:
    """Look, say what follows from it; then do it."""
    store = StoreName(StoreType(arguments.type), arguments.store)
    removal = _look(settings_of(arguments), store, arguments.certificate)
    say = _nothing if is_json(arguments) else print
    for line in _told(removal):
        say(line)
    for file in removal.kept:
        if file.problem:
            print(f"enforcer: {clip(file.problem, limit=500)}", file=sys.stderr)
    if arguments.dry_run:
        say("nothing was changed")
    else:
        _remove(removal, say, yes=arguments.yes)
    if is_json(arguments):
        print_json(_document(removal, removed=not arguments.dry_run))
    return DONE


def _remove(removal: _Removal, say: Callable[[str], None], *, yes: bool) -> None:
    if removal.objection and not yes:
        raise EnforcerError(
            f'trust store "{removal.store}" would be empty; {removal.objection}',
            remedy="Nothing was changed. Add its next certificate first (`enforcer "
            "trust add`), or add --yes.",
            code=Code.TRUST_STORE_MISSING,
        )
    for file in removal.gone:
        remove_file(file.path)
        say(f"no longer trusted in {removal.store}: {clip(str(file.path), limit=1000)}")
    say("a running enforcerd puts it in force within a second")


def _look(settings: Settings, store: StoreName, names: Sequence[str]) -> _Removal:
    files = _files(settings, store)
    gone: dict[Path, _StoreFile] = {}
    for name in names:  # all are found before one is removed
        named = [file for file in files if file.is_named(_plain(name))]
        if not named:
            raise FileMissingError(
                f'there is no "{clip(name)}" in {store}', remedy=_SEE
            )
        gone |= {file.path: file for file in named}
    signers, statements, problem = _who_names(store, settings)
    return _Removal(
        store,
        tuple(gone.values()),
        tuple(file for file in files if file.path not in gone),
        _elsewhere(settings, [c for file in gone.values() for c in file.certificates]),
        signers,
        statements,
        problem,
    )


def _plain(name: str) -> str:
    if "/" in name or not name.isprintable():
        raise UsageError(f'"{clip(name)}" is not the name of a file in a store. {_SEE}')
    return name


def _files(settings: Settings, store: StoreName) -> list[_StoreFile]:
    files = []
    try:
        for path, found in survey_store(settings.trust_dir, store):
            bad = isinstance(found, EnforcerError)
            ders = () if isinstance(found, EnforcerError) else found
            certificates = tuple(described(store, path, der) for der in ders)
            digests = tuple(
                frozenset((one["key"], str(Digest.of(der))))
                for one, der in zip(certificates, ders, strict=True)
            )
            problem = str(found) if bad else ""
            files.append(_StoreFile(path, certificates, digests, problem))
    except TrustStoreMissingError as error:
        raise EnforcerError(
            f'there is no trust store "{store}"', remedy=_SEE, code=error.code
        ) from error
    return files


def _who_names(
    store: StoreName, settings: Settings
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return signers and statements that need a store, or why nobody knows."""
    try:
        policy = load_policy(settings).policy
    except EnforcerError as error:
        return (), (), clip(error.what, limit=500)
    named = [one.name for one in policy.trusts if store in one.trust_stores]
    if isinstance(policy, TrustPolicy):
        return (), tuple(clip(name) for name in named), ""
    return (*_of_host(policy, store), "")


def _of_host(
    policy: HostPolicy, store: StoreName
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    signers = [n for n, one in policy.signers.items() if store in one.trust_stores]
    statements = [
        clip(demand.name)
        for demand in (policy.always, *policy.statements)
        if not demand.requirement.names.isdisjoint(signers)
    ]
    return tuple(map(clip, signers)), tuple(statements)


def _elsewhere(
    settings: Settings, gone: Sequence[dict[str, str]]
) -> tuple[dict[str, str], ...]:
    """Return what else is trusted with the same keys, in any store."""
    keys = {one["key"] for one in gone}
    places = {(one["store"], one["file"]) for one in gone}
    return tuple(
        one
        for one in listed(settings)[0]
        if one["key"] in keys and (one["store"], one["file"]) not in places
    )


def _told(removal: _Removal) -> list[str]:
    store = removal.store
    told = [
        f"to be removed: {clip(file.path.name)}  {_subjects(file)}"
        for file in removal.gone
    ]
    told.append(f"{store}: {removal.needs or 'nothing in the policy needs it'}")
    if removal.left:
        told.append(
            f"{store} keeps {removal.left} certificate(s): what none of these vouches "
            "for is refused"
        )
    else:
        told.append(f"{store} keeps no certificate: all that needs it is refused")
    told += [
        f"the same key is still trusted in {one['store']}: {one['file']}"
        for one in removal.still
    ]
    return told


def _subjects(file: _StoreFile) -> str:
    return "; ".join(one["subject"] for one in file.certificates) or "no certificate"


def _nothing(line: str) -> None:
    """Programs are told all at once."""


def _document(removal: _Removal, *, removed: bool) -> dict[str, object]:
    return {
        "removed": removed,
        "store": str(removal.store),
        "files": [clip(str(file.path), limit=1000) for file in removal.gone],
        "certificates": [one for file in removal.gone for one in file.certificates],
        "left": removal.left,
        "signers": removal.signers,
        "statements": removal.statements,
        "policyProblem": removal.problem,
        "stillTrusted": removal.still,
    }

"""Scopes: which repositories a statement is for, the most specific one first.

A scope is an exact repository, a prefix ending in `/*`, or `*`. Names without a
registry are `local/NAME` (design section 6). Scopes are normalised as references are,
so that two ways to write one repository are one scope.
"""

import re
from dataclasses import dataclass

from enforcer.core.errors import MalformedError, clip
from enforcer.core.reference import (
    DEFAULT_HOST,
    LOCAL_HOST,
    InvalidReferenceError,
    parse_reference,
)

ANY = "*"
_BELOW = "/*"
_HOST_ALONE = re.compile(r"[A-Za-z0-9.-]*[.:][A-Za-z0-9.:-]*|localhost|local")


@dataclass(frozen=True, slots=True)
class Scope:
    """One scope. `text` is `*`, `repository` or `prefix/*`, normalised."""

    text: str

    @property
    def is_prefix(self) -> bool:
        """Whether it covers what lies below it, and is not all there is."""
        return self.text.endswith(_BELOW)

    def covers(self, repository: str) -> bool:
        """Whether a repository, as policy spells it, falls under this scope."""
        if self.text == ANY:
            return True
        if self.is_prefix:
            return repository.startswith(self.text[:-1])
        return repository == self.text

    @property
    def specificity(self) -> tuple[bool, int]:
        """What to compare scopes by that cover one repository: the greatest wins."""
        exact = not self.text.endswith(ANY)
        return exact, len(self.text)


def parse_scope(text: str) -> Scope:
    """Read a scope.

    Raises:
        MalformedError: Not one, or no name ever falls under it.
    """
    if text == ANY:
        return Scope(ANY)
    if _HOST_ALONE.fullmatch(text):
        raise _wrong(text, f'is a registry alone; write "{text}/*"')
    if text.endswith(_BELOW):
        # A prefix is spelt as the repositories below it are.
        return Scope(f"{_below(text, text.removesuffix(_BELOW))}{_BELOW}")
    return Scope(_repository(text, text))


def _below(text: str, prefix: str) -> str:
    if prefix in (LOCAL_HOST, DEFAULT_HOST, "index.docker.io"):
        return LOCAL_HOST if prefix == LOCAL_HOST else DEFAULT_HOST
    found = _repository(text, f"{prefix}/x" if "/" not in prefix else f"{prefix}/x/x")
    return found.removesuffix("/x/x" if "/" in prefix else "/x")


def _repository(text: str, name: str) -> str:
    """Spell a repository as references to it are spelt."""
    local = name.removeprefix(f"{LOCAL_HOST}/")
    try:
        reference = parse_reference(local)
    except InvalidReferenceError as error:
        raise _wrong(text, "is no repository, prefix/* or *") from error
    if reference.tag or reference.digest is not None:
        raise _wrong(text, "has a tag or digest; a scope is a repository")
    if local != name and reference.host:
        raise _wrong(text, f'is for nothing: "{clip(local)}" has a registry')
    if local == name and not reference.host:
        raise _wrong(text, f'has no registry; write "{LOCAL_HOST}/{clip(text)}"')
    return reference.repository(local=True)


def _wrong(text: str, why: str) -> MalformedError:
    return MalformedError(
        f'the scope "{clip(text)}" {why}',
        remedy='Expected "registry/repository", "registry/prefix/*", "local/*" or "*".',
    )

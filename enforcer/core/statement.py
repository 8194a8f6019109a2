"""What a trust policy says, once it is read: statements, their stores, their scopes."""

import re
from dataclasses import dataclass
from enum import StrEnum

from enforcer.core.conditions import NO_CONDITIONS, Conditions
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError, clip
from enforcer.core.identity import Identity
from enforcer.core.level import VerificationLevel

GLOBAL_SCOPE = "*"

_STORE_NAME = re.compile(r"[a-zA-Z0-9_.-]+")  # TP59


class VerifyTimestamp(StrEnum):
    """When a countersignature is asked for, if a `tsa` store is listed (TP84)."""

    ALWAYS = "always"
    AFTER_CERT_EXPIRY = "afterCertExpiry"


class StoreType(StrEnum):
    """What a trust store's certificates are trusted for."""

    CA = "ca"
    SIGNING_AUTHORITY = "signingAuthority"
    TSA = "tsa"


@dataclass(frozen=True, slots=True, order=True)
class StoreName:
    """A trust store's type and name. Safe to put in a path."""

    type: StoreType
    name: str

    def __post_init__(self) -> None:
        # The specification's own pattern lets "." and ".." through.
        if not _STORE_NAME.fullmatch(self.name) or self.name in (".", ".."):
            raise MalformedError(
                f'"{clip(self.name)}" is not a trust store name',
                remedy="Expected letters, digits, underscore, dot and hyphen.",
            )

    def __str__(self) -> str:
        return f"{self.type}:{self.name}"


@dataclass(frozen=True, slots=True)
class Statement:
    """Whom to trust for some repositories; `("*",)` is every other repository."""

    name: str
    scopes: tuple[str, ...]
    level: VerificationLevel
    verify_timestamp: VerifyTimestamp
    trust_stores: tuple[StoreName, ...]
    identities: tuple[Identity, ...]
    conditions: Conditions = NO_CONDITIONS

    def __post_init__(self) -> None:
        trusts = bool(self.trust_stores), bool(self.identities)
        if not self.scopes or trusts != (not self.level.is_skip,) * 2:
            raise ValueError("a statement trusts somebody, or it skips")

    @property
    def is_global(self) -> bool:
        """Whether this statement covers what no other one does."""
        return self.scopes == (GLOBAL_SCOPE,)


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A checked document. `digest` is of its bytes; `warnings` are for people."""

    statements: tuple[Statement, ...]
    digest: Digest
    warnings: tuple[str, ...] = ()

    @property
    def trusts(self) -> tuple[Statement, ...]:
        """All that a signature may be judged by."""
        return self.statements

    def statement_for(self, repository: str) -> Statement | None:
        """Return the statement that covers a repository, or None.

        TP413: an exact match wins over the global statement.
        """
        fallback = None
        for statement in self.statements:
            if statement.is_global:
                fallback = statement
            elif repository in statement.scopes:
                return statement
        return fallback

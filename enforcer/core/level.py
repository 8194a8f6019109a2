"""Verification levels: which checks a statement enforces, and which it only notes."""

from collections.abc import Mapping
from dataclasses import dataclass

from enforcer.core.findings import Action, Check

_E, _L, _S = Action.ENFORCE, Action.LOG, Action.SKIP
_CHECKS = (
    Check.INTEGRITY,
    Check.AUTHENTICITY,
    Check.TIMESTAMP,
    Check.EXPIRY,
    Check.REVOCATION,
    Check.METADATA,
)

# trust-store-trust-policy.md, "Signature Verification details". User metadata is
# asked for by whoever verifies, and enforced at every level (TP532).
_LEVELS = {
    "strict": (_E, _E, _E, _E, _E, _E),
    "permissive": (_E, _E, _L, _L, _L, _E),
    "audit": (_E, _L, _L, _L, _L, _E),
    "skip": (_S, _S, _S, _S, _S, _S),
}
LEVEL_NAMES = tuple(_LEVELS)

# TP325-336: what `override` may say about which check.
OVERRIDES: Mapping[Check, tuple[Action, ...]] = {
    Check.AUTHENTICITY: (_E, _L),
    Check.TIMESTAMP: (_E, _L),
    Check.EXPIRY: (_E, _L),
    Check.REVOCATION: (_E, _L, _S),
}


@dataclass(frozen=True, slots=True)
class VerificationLevel:
    """What to do about each check. `name` is the level it is based on."""

    name: str
    actions: tuple[tuple[Check, Action], ...]

    def __post_init__(self) -> None:
        if tuple(check for check, _ in self.actions) != _CHECKS:
            raise ValueError("a level says something about every check, once")
        always = {self.action(Check.INTEGRITY), self.action(Check.METADATA)}
        if always != ({_S} if self.is_skip else {_E}):
            raise ValueError("integrity is enforced at every level but skip")

    @classmethod
    def named(
        cls, name: str, overrides: Mapping[Check, Action] | None = None
    ) -> "VerificationLevel":
        """Return one of the four levels, with single actions replaced."""
        actions = dict(zip(_CHECKS, _LEVELS[name], strict=True))
        return cls(name, tuple((actions | dict(overrides or {})).items()))

    @property
    def is_skip(self) -> bool:
        """Whether nothing is verified at all."""
        return self.name == "skip"

    def action(self, check: Check) -> Action:
        """Say what to do when this check does not pass."""
        return dict(self.actions)[check]


def is_at_least(level: VerificationLevel, name: str) -> bool:
    """Say whether a level enforces every check the level called `name` does.

    Noting and skipping are alike here: neither keeps anything from starting. A name
    that is no level is met by none.
    """
    if name not in LEVEL_NAMES:
        return False
    floor = VerificationLevel.named(name)
    return all(
        level.action(check) is _E for check, action in floor.actions if action is _E
    )

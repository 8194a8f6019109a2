"""What doctor found: one value a thing that is amiss, and all of them together."""

from dataclasses import dataclass, fields
from enum import StrEnum

from enforcer.core.codes import PAGES, Code
from enforcer.core.errors import clip

AS_ROOT = "sudo enforcer doctor"
MAX_TEXT = 500  # of any one part of a finding; paths of engines are long


class Severity(StrEnum):
    """How bad it is: a failure opens a door, breaks enforcement, or may do so."""

    FAILURE = "failure"
    WARNING = "warning"


_WARNINGS = frozenset(
    {
        Code.LIVE_RESTORE_OFF,
        Code.VERIFIER_NOT_FIRST,
        Code.NRI_REPORTS,
        Code.MONITORING,
        Code.LAXER,
        Code.DISK_LOW,
        Code.TRUST_EXPIRES,
        Code.EXEMPTION_ENDS,
        Code.EVIDENCE_ENDS,
        Code.FETCHER_UNREACHABLE,
    }
)
UNSEEN = frozenset({Code.UNSEEN, Code.ENGINE_ABSENT})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is amiss; printable ASCII, whatever an engine answered.

    Attributes:
        code: One of ENF-21xx, or ENF-2701; it decides how bad this is and what follows
            from it.
        subject: What it is about: a process, a file, a unit.
        what: What was seen, and what was expected.
        remedy: The command that mends it.
    """

    code: Code
    subject: str
    what: str
    remedy: str

    def __post_init__(self) -> None:
        for field in fields(self)[1:]:
            shown = clip(str(getattr(self, field.name)), limit=MAX_TEXT)
            object.__setattr__(self, field.name, shown)

    @property
    def severity(self) -> Severity:
        """Whether this alone fails the examination."""
        return Severity.WARNING if self.code in _WARNINGS else Severity.FAILURE

    @property
    def consequence(self) -> str:
        """What follows from it while it stays so: the code's page says it."""
        return PAGES[self.code][0]


class UnseenError(Exception):
    """Something could not be found out. `finding` says what and why."""

    def __init__(
        self, subject: str, what: str, remedy: str, code: Code = Code.UNSEEN
    ) -> None:
        self.parts = (subject, what, remedy, code)
        self.finding = Finding(code, subject, what, remedy)
        super().__init__(what)


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was looked at: what was seen to be well, and what was found."""

    checked: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that fail the examination."""
        return tuple(f for f in self.findings if f.severity is Severity.FAILURE)

    @property
    def only_unseen(self) -> bool:
        """Whether all that failed was to find something out."""
        return all(finding.code in UNSEEN for finding in self.failures)

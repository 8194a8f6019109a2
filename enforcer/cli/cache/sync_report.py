"""What `cache sync` did, for people, for programs, and as an exit status."""

import sys
from dataclasses import dataclass

from enforcer.cli.cache.sync_targets import Targets
from enforcer.cli.main import DONE, REFUSED, UNREACHABLE, status_of
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.evidence import NO_EVIDENCE
from enforcer.intake.rounds import Round
from enforcer.sources.revocation.gather import Gathered
from enforcer.sources.revocation.sync import Synced

MAX_TOLD = 500  # characters of one line
NOTHING = Synced(0, Gathered(NO_EVIDENCE, ()))


@dataclass(slots=True)
class Report:
    """All that was asked, and what came of it.

    Attributes:
        chains: How many of trusted signers' there are.
        synced: What lists and responders gave about them.
        failure: Why those were not asked, or what they gave not kept.
    """

    targets: Targets
    rounds: list[Round]
    chains: int = 0
    synced: Synced = NOTHING
    failure: EnforcerError | None = None

    def status(self) -> int:
        """Return the worst of all that went wrong; what was refused counts least."""
        refused = any(done.refused for done in self.rounds)
        return self.missed() or (REFUSED if refused else DONE)

    def missed(self) -> int:
        """Return the worst for which another sync may bring more; DONE for none."""
        errors = [error for done in self.rounds for _, error in done.problems]
        errors += [self.failure] if self.failure else []
        found = [status_of(error.code) for error in errors]
        found += [UNREACHABLE] if self.targets.problems else []
        found += [REFUSED] if self.synced.gathered.problems else []
        return max(found, default=DONE)

    def complain(self) -> None:
        """Print what went wrong to standard error, a line each."""
        lines = list(self.targets.problems)
        for done in self.rounds:
            lines += [f"{name}: {error}" for name, error in done.problems]
            lines += [f"refused {item.what}: {item.why}" for item in done.refused]
        lines += [
            f"{one.url} gave nothing of use: {one.because}"
            for one in self.synced.gathered.problems
        ]
        for line in lines:
            print(f"enforcer: {clip(line, limit=MAX_TOLD)}", file=sys.stderr)

    def print(self) -> None:
        """Print a line a registry, and what was kept of evidence."""
        for done in self.rounds:
            print(_line(done))
        if self.targets.closed:
            count = self.targets.closed
            print(f"{count} image(s): sync.registries leaves their registry out")
        if self.targets.local:
            count = self.targets.local
            print(f"{count} local image(s): no registry is known for them")
        if not self.failure:
            kept = f"{self.synced.kept} new piece(s) of evidence"
            print(f"{self.chains} trusted chain(s), {kept}")

    def json(self) -> dict[str, object]:
        """Return all of it as JSON."""
        unanswered = self.synced.gathered.problems
        return {
            "registries": [_round_json(done) for done in self.rounds],
            "local": self.targets.local,
            "closed": self.targets.closed,
            "engines": self.targets.problems,
            "chains": self.chains,
            "kept": self.synced.kept,
            "problems": [{"url": p.url, "why": p.because} for p in unanswered],
            "failure": _error_json(self.failure) if self.failure else None,
        }


def _line(done: Round) -> str:
    words = [f"{done.asked} image(s)", f"{done.signatures} signature(s)"]
    if done.evidence:
        words.append(f"{done.evidence} piece(s) of evidence")
    if done.absent:
        words.append(f"{done.absent} not there")
    if done.skipped:
        words.append(f"{done.skipped} not asked about")
    return f"{clip(done.registry)}: {', '.join(words)}"


def _round_json(done: Round) -> dict[str, object]:
    return {
        "registry": done.registry,
        "images": done.asked,
        "signatures": done.signatures,
        "evidence": done.evidence,
        "absent": done.absent,
        "skipped": done.skipped,
        "refused": [{"what": item.what, "why": item.why} for item in done.refused],
        "problems": [
            {"image": name, **_error_json(error)} for name, error in done.problems
        ],
    }


def _error_json(error: EnforcerError) -> dict[str, object]:
    return {"code": str(error.code), "message": error.what}

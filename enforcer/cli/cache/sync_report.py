"""What `cache sync` did, for people, for programs, and as an exit status."""

import sys
from dataclasses import dataclass

from enforcer.cli.cache.sync_targets import Targets
from enforcer.cli.main import DONE, REFUSED, UNREACHABLE, status_of
from enforcer.core.errors import clip
from enforcer.intake.rounds import Round
from enforcer.sources.revocation.sync import Synced

MAX_TOLD = 500  # characters of one line


@dataclass(frozen=True, slots=True)
class Report:
    """All that was asked, and what came of it; `chains` counts trusted signers'."""

    targets: Targets
    rounds: list[Round]
    chains: int
    synced: Synced

    def status(self) -> int:
        """Return the worst of all that went wrong."""
        problems = (error for done in self.rounds for _, error in done.problems)
        found = [status_of(error.code) for error in problems]
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
            {"image": name, "code": str(error.code), "message": error.what}
            for name, error in done.problems
        ],
    }

"""How every door asks enforcerd: over ask.sock, as the gate does, with its deadline.

Whatever is not a plain yes is a no, and says why. In monitor mode a no lets through
where the daemon and root's own gate.conf both say so, as at the gate.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from enforcer import ttrpc
from enforcer.core.codes import Code
from enforcer.gate import ask

# Fields of VerifyRequest.
ASKED_BY, REFERENCE, DIGEST, IMAGE, ACT, PULL = 1, 2, 3, 5, 6, 7


@dataclass(frozen=True, slots=True)
class Answer:
    """What enforcerd said. `passes` is what a door acts on.

    `message` is one line of printable ASCII. The digests are of what was judged, "" for
    what the image has not. `next` is the command to run where no decision is on record.
    """

    passes: bool
    code: str
    message: str
    decision: str = ""
    index: str = ""
    manifest: str = ""
    config: str = ""
    next: str = ""

    @property
    def refusal(self) -> str:
        """The sentence for whoever is refused."""
        next_ = f"enforcer explain {self.decision}" if self.decision else self.next
        suffix = f"; next: {next_}" if next_ else ""
        return f"enforcer: {self.message} [{self.code}]{suffix}"


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks for one door. Blocks up to the gate's DEADLINE_SECONDS; never raises."""

    asked_by: str
    socket: Path
    gate_conf: Path
    gate_log: Path
    call: Callable[[str, ttrpc.Request], bytes] = field(default=ask.round_trip)

    def image(
        self, engine_root: str, namespace: str, name: str, pull: bytes | None = None
    ) -> Answer:
        """Ask about an image at rest in an engine's store.

        One that is being pulled has a `pull`: the message of that name, with its login.
        """
        image = ttrpc.encode_fields((1, engine_root), (2, namespace), (3, name))
        said = () if pull is None else ((PULL, pull),)
        return self._ask((ASKED_BY, self.asked_by), (IMAGE, image), *said)

    def content(self, reference: str, digest: str) -> Answer:
        """Ask about a manifest or index by its very digest, under a name."""
        return self._ask(
            (ASKED_BY, self.asked_by), (REFERENCE, reference), (DIGEST, digest)
        )

    def act(self, what: str, code: Code, message: str) -> Answer:
        """Say what the door itself refuses, and why; the answer is what applies.

        Where enforcerd does not answer, the door's own reason is the one to show.
        """
        act = ttrpc.encode_fields((1, what), (2, str(code)), (3, message))
        answer = self._ask((ASKED_BY, self.asked_by), (ACT, act))
        if answer.decision:
            return answer
        return Answer(answer.passes, str(code), ask.shown(message))

    def unanswered(self, code: Code, why: str) -> Answer:
        """Say no without having asked; in monitor mode write it down, and pass."""
        message, _, rest = why.partition(f" [{code}]")  # as the gate words it
        monitor = ask.is_monitor(str(self.gate_conf))
        if monitor:  # the daemon could not record it
            line = f"{time.time():.0f} {self.asked_by} would refuse: {message}\n"
            ask.append(str(self.gate_log), line)
        next_ = rest.removeprefix("; next: ")
        return Answer(monitor, str(code), message, next=next_)

    def _ask(self, *fields: tuple[int, int | str | bytes]) -> Answer:
        try:
            request = ttrpc.Request(ask.SERVICE, "Verify", ttrpc.encode_fields(*fields))
            answer = ttrpc.decode_fields(self.call(str(self.socket), request))
            return self._read(answer)
        except ask.RefusalError as error:
            return self.unanswered(Code.GATE_UNTRUSTED_PEER, str(error))
        except ttrpc.ProtocolError as error:
            return self.unanswered(Code.GATE_GARBLED, self._why(error))
        except TimeoutError as error:
            return self.unanswered(Code.GATE_SILENT, self._why(error))
        except (OSError, ValueError) as error:
            return self.unanswered(Code.GATE_UNREACHABLE, self._why(error))

    def _read(self, answer: ttrpc.Fields) -> Answer:
        subject = ttrpc.decode_fields(ttrpc.octets(answer, 6))
        allowed = ttrpc.number(answer, 1) == 1
        monitored = ttrpc.text(answer, 10) == ask.MONITOR
        return Answer(
            allowed or (monitored and ask.is_monitor(str(self.gate_conf))),
            ask.shown(ttrpc.text(answer, 2)),
            ask.shown(ttrpc.text(answer, 3)),
            ask.shown(ttrpc.text(answer, 4)),
            *(ttrpc.text(subject, number) for number in (1, 2, 3)),
        )

    def _why(self, error: Exception) -> str:
        return ask.no_answer(error, str(self.socket))

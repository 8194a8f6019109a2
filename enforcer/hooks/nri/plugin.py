"""The plug-in's process: connect, register, answer; and again when that ends.

Before containerd 2.4 NRI fails open and tells no digest, so there it only reports what
is created and started, and what it would refuse. From then on it is asked before a
container is made (ValidateContainerAdjustment) and answers within half the time the
runtime gives; what it does not understand, or hears no plain yes about, it rejects.
"""

import contextlib
import queue
import signal
import socket
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog

from enforcer import ttrpc
from enforcer.api.process import option_parser, set_up_log
from enforcer.api.sockets import notify
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.files import make_folder
from enforcer.gate import ask
from enforcer.hooks.asking import Answer, Asker
from enforcer.hooks.nri import wire
from enforcer.hooks.nri.state import BEAT_SECONDS, FILE, NriState, save_state
from enforcer.settings import Settings, SettingsError, load_settings

SOCKET = Path("/var/run/nri/nri.sock")
NAME, INDEX = "enforcer", "90"  # after those that change things
NAMESPACE = "k8s.io"  # NRI is CRI's alone
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.25, 8.0  # to connect again
MAX_REPORTS = 256  # waiting to be judged; beyond, a report has no verdict
UNIMPLEMENTED = 12  # google.rpc.Code

log = structlog.get_logger("enforcer-nri")


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status (design section 7)."""
    parser = option_parser("enforcer-nri", __doc__)
    parser.add_argument("--socket", type=Path, default=SOCKET, help="NRI's own")
    given = parser.parse_args(argv)
    set_up_log()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        settings = load_settings(given.config_dir, given.state_dir, given.run_dir)
        make_folder(settings.run_dir, mode=0o755)
        plugin = Plugin(settings, given.socket)
        try:
            plugin.serve()
        finally:
            (settings.run_dir / FILE).unlink(missing_ok=True)
    except EnforcerError as error:
        log.error("cannot start", code=str(error.code), reason=str(error))
        return 4


class Plugin:
    """One plug-in for one containerd: the first that enforcer.yaml lists."""

    def __init__(self, settings: Settings, socket_path: Path) -> None:
        self._socket = socket_path
        self._run_dir = settings.run_dir
        self._root = _engine_root(settings)
        self._asker = Asker(
            "nri",
            socket=settings.run_dir / "ask.sock",
            gate_conf=settings.config_dir / "gate.conf",
            gate_log=settings.log_dir / "gate.log",
        )
        self._state = NriState(0)
        self._reports: queue.Queue[wire.Container] = queue.Queue(MAX_REPORTS)
        threading.Thread(target=self._judge_reports, daemon=True).start()

    def serve(self) -> NoReturn:
        """Be connected as much as one can."""
        wait = FIRST_WAIT_SECONDS
        notify("READY=1")
        while True:
            why = "containerd hung up"
            try:
                self._session()
            except ask.NO_YES as error:
                why = str(error)
            if self._state.connected:
                wait = FIRST_WAIT_SECONDS
            self._beat(NriState(0))
            log.warning("not connected", socket=str(self._socket), reason=why)
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    def _session(self) -> None:
        """Serve one connection to its end."""
        trunk = wire.Trunk()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(BEAT_SECONDS)
            connection.connect(str(self._socket))
            ask.require_root(connection, str(self._socket))
            connection.sendall(
                wire.encode(wire.RUNTIME, wire.registration(NAME, INDEX))
            )
            while received := self._receive(connection):
                for number, frame in trunk.feed(received):
                    if number == wire.RUNTIME:
                        ttrpc.decode_response(frame.payload)  # raises if refused
                    else:
                        answer = ttrpc.Frame(
                            frame.stream, ttrpc.RESPONSE, self._answer(frame)
                        )
                        connection.sendall(wire.encode(wire.PLUGIN, answer))

    def _receive(self, connection: socket.socket) -> bytes:
        """Wait for bytes, giving signs of life; b"" at the end."""
        while True:
            self._beat(self._state)
            with contextlib.suppress(TimeoutError):
                return connection.recv(65536)

    def _beat(self, state: NriState) -> None:
        """Write the state down, for status alone, if it changed or is old."""
        now = int(time.time())
        is_same = replace(state, at=self._state.at) == self._state
        if is_same and abs(now - self._state.at) < BEAT_SECONDS:
            return
        self._state = replace(state, at=now)
        notify("WATCHDOG=1")
        with contextlib.suppress(EnforcerError):
            save_state(self._run_dir, self._state)

    def _answer(self, frame: ttrpc.Frame) -> bytes:
        call = ttrpc.decode_request(frame.payload)
        methods = {
            "Configure": self._configure,
            "Synchronize": _synchronize,
            "StateChange": self._report,
            "ValidateContainerAdjustment": self._validate,
        }
        method = methods.get(call.method)
        if frame.kind != ttrpc.REQUEST or call.service != wire.PLUGIN_SERVICE:
            raise ttrpc.ProtocolError("not a call of a plug-in")
        if not method:
            return ttrpc.encode_failure(UNIMPLEMENTED, "no such method")
        return ttrpc.encode_response(method(call.payload))

    def _configure(self, payload: bytes) -> bytes:
        """Take only events this runtime knows: for another it drops the plug-in."""
        runtime = wire.parse_runtime(payload)
        shown = ask.shown(f"{runtime.name} {runtime.version}")
        seconds = min(runtime.timeout_seconds / 2, ask.DEADLINE_SECONDS)
        self._asker = replace(
            self._asker, call=partial(ask.round_trip, seconds=seconds)
        )
        self._beat(NriState(0, shown, connected=True, validates=runtime.validates))
        log.info("registered", runtime=shown, validates=runtime.validates)
        if runtime.validates:
            return wire.subscription(wire.VALIDATE)
        return wire.subscription(wire.POST_CREATE, wire.START)

    def _report(self, payload: bytes) -> bytes:
        """Say what happens; judge later, since every other container waits for us."""
        try:
            event, container = wire.parse_event(payload)
        except ttrpc.ProtocolError as error:  # no reason to miss what comes next
            log.warning("event made no sense", reason=ask.shown(str(error)))
            return b""
        if event == wire.START:  # after runc's create, so the gate let it pass
            log.info("starts", **_shown(container))
        elif event == wire.POST_CREATE:
            try:
                self._reports.put_nowait(container)
            except queue.Full:
                log.warning("created, not judged: too many", **_shown(container))
        return b""

    def _judge_reports(self) -> None:
        while True:
            container = self._reports.get()
            # A name is a claim, and no digest comes with it: good for a report only.
            answer = self._ask(container.config or container.untrusted_name)
            if answer.passes:
                log.info("would allow", **_shown(container))
            else:
                log.warning("would refuse", **_shown(container), reason=answer.refusal)

    def _validate(self, payload: bytes) -> bytes:
        """Decide: an empty answer lets pass, a reason rejects."""
        try:
            container = wire.parse_validation(payload)
        except ttrpc.ProtocolError as error:
            answer = self._not_told(f"containerd's question made no sense: {error}")
            shown = {}
        else:
            answer, shown = self._decide(container), _shown(container)
        if answer.passes:
            log.info("validated", **shown)
            return b""
        log.warning("rejected", **shown, reason=answer.refusal)
        return ttrpc.encode_fields((1, 1), (2, answer.refusal))

    def _decide(self, container: wire.Container) -> Answer:
        if container.config:
            return self._ask(container.config)
        which = ask.shown(container.id)
        return self._not_told(f"containerd does not say what image {which} has")

    def _ask(self, image: str) -> Answer:
        return self._asker.image(self._root, NAMESPACE, image)

    def _not_told(self, why: str) -> Answer:
        return self._asker.unanswered(Code.NRI_UNKNOWN, ask.shown(why))


def _synchronize(payload: bytes) -> bytes:
    """Ask for no changes; NRI wants to hear that more may come."""
    return ttrpc.encode_fields((2, wire.parse_more(payload)))


def _shown(container: wire.Container) -> dict[str, str]:
    return {
        "container": ask.shown(container.id),
        "pod": ask.shown(container.pod),
        "image": ask.shown(container.untrusted_name),
        "config": ask.shown(container.config),
    }


def _engine_root(settings: Settings) -> str:
    for engine in settings.engines:
        if engine.kind == "containerd":
            return str(engine.root)
    raise SettingsError(
        "no containerd among `engines`", remedy="List the one that serves CRI."
    )


if __name__ == "__main__":
    sys.exit(main())

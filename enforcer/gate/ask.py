"""Ask enforcerd whether runc may create a container. Exit 20: it may. 10: not.

Run by the gate, through `__main__.py`: `--socket S --conf C --gate-log L -- ARGS`.
It starts in some ten milliseconds, so it imports next to nothing: `_socket` instead of
`socket` alone saves a third of that. It decides nothing; it refuses when it does
not get a plain yes from a daemon that root runs, within DEADLINE_SECONDS.
"""

import os
import sys
import time
from _socket import (
    AF_UNIX,
    SO_PEERCRED,
    SOCK_STREAM,
    SOL_SOCKET,
    socket,
)

from enforcer import ttrpc

DEADLINE_SECONDS = 4.0  # over the daemon's own 3 s, under the 5 s we promise
RETRY_SECONDS = 0.05  # while the daemon is being restarted
MAX_GATE_LOG_BYTES = 1024 * 1024
MONITOR = "monitor"
# No statuses that Python or the shell give by themselves: a file that was cut off, and
# so does nothing, ends with 0.
YES, REFUSED = 20, 10
SERVICE = "enforcer.api.v1.Verifier"

# runc's options that take a value, before the command and after it (runc(8)).
_WITH_VALUE = frozenset(
    {
        "root", "log", "log-format", "criu", "rootless", "bundle", "b",
        "console-socket",
        "pid-file", "preserve-fds", "image-path", "work-path", "parent-path",
        "page-server", "manage-cgroups-mode", "empty-ns", "status-fd", "lsm-profile",
        "lsm-mount-context",
    }
)  # fmt: skip
_ASKED = frozenset({"create", "run", "restore"})


class RefusalError(Exception):
    """No plain yes. The text is for the person who tried to start the container.

    `mode` is the daemon's, where it was the daemon that said no.
    """

    def __init__(self, text: str, *, mode: str = "") -> None:
        super().__init__(text)
        self.mode = mode


NO_YES = (RefusalError, OSError, ttrpc.ProtocolError)  # what a question may raise


def main(argv: list[str]) -> int:
    """Return the exit status for the gate."""
    own, runc_argv = split(argv)
    options, words = parse_runc(runc_argv)
    try:
        ask(own["socket"], options, words)
    except NO_YES as error:
        message = objection(own, error)
        return _refuse(message, options) if message else YES
    return YES


def objection(own: dict[str, str], error: Exception, so: str = "nothing starts") -> str:
    """Return one line to refuse with; "" where root lets all through (monitor mode).

    `own` is of `split`, `error` one of NO_YES, `so` what follows from no answer.
    """
    if isinstance(error, RefusalError):
        message, mode = f"enforcer: {error}", error.mode
    else:
        message, mode = f"enforcer: {no_answer(error, own['socket'], so)}", ""
    # gate.conf and enforcer.yaml must agree on monitor; a difference means enforce.
    if mode not in ("", MONITOR) or not is_monitor(own["conf"]):
        return message
    if not mode:  # the daemon could not record it
        append(own["gate-log"], f"{time.time():.0f} would refuse: {message}\n")
    return ""


def parse_runc(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split runc's arguments into options, undashed, and words, as Go's flag does.

    Options before and after the command share one dictionary: no name means two
    things in runc. After the container's id nothing is an option.
    """
    options: dict[str, str] = {}
    words: list[str] = []
    rest = iter(argv)
    for word in rest:
        if len(words) == 2 or not word.startswith("-") or word == "-":
            words.append(word)
            continue
        if word == "--":
            continue
        name, given, value = word.lstrip("-").partition("=")
        if given:
            options[name] = value
        elif name in _WITH_VALUE:
            options[name] = next(rest, "")
        else:
            options[name] = "true"
    return options, words


def ask(socket_path: str, options: dict[str, str], words: list[str]) -> None:
    """Return if the daemon says yes.

    Raises:
        RefusalError: It says no, or this is nothing that may be asked about.
        OSError: No daemon, or no answer in time.
        ttrpc.ProtocolError: An answer that is none.
    """
    if len(words) != 2 or words[0] not in _ASKED:
        raise RefusalError(
            f"the gate does not know this call of runc: {shown(' '.join(words[:2]))}"
            " [ENF-1605]; next: enforcer explain ENF-1605"
        )
    # Joined, not abspath: where a link is in the way, `link/..` is not where it lies.
    here = os.getcwd()  # noqa: PTH109
    bundle = options.get("bundle") or options.get("b") or ""
    container = ttrpc.encode_fields(
        (1, words[1]),
        (2, os.path.join(here, bundle)),  # noqa: PTH118
        (3, os.path.join(here, options.get("root") or "/run/runc")),  # noqa: PTH118
        (4, words[0]),
    )
    verify(socket_path, (1, "gate"), (4, container))


def verify(socket_path: str, *fields: tuple[int, str | bytes]) -> None:
    """Return if the daemon says yes to a VerifyRequest; raises as `ask` does."""
    call = ttrpc.Request(SERVICE, "Verify", ttrpc.encode_fields(*fields))
    answer = ttrpc.decode_fields(round_trip(socket_path, call))
    if ttrpc.number(answer, 1) != 1:
        code, message, name = (shown(ttrpc.text(answer, n)) for n in (2, 3, 4))
        # The name finds this very decision in the audit log; without one, the code.
        raise RefusalError(
            f"{message} [{code}]; next: enforcer explain {name or code}",
            mode=ttrpc.text(answer, 10),
        )


def round_trip(
    path: str, call: ttrpc.Request, seconds: float = DEADLINE_SECONDS
) -> bytes:
    """Ask until there is an answer: a daemon that is being replaced hangs up."""
    end = time.monotonic() + seconds
    while True:  # bounded by the deadline
        try:
            return _ask_once(path, call, end)
        except (ConnectionResetError, BrokenPipeError):
            if time.monotonic() + RETRY_SECONDS >= end:
                raise
            time.sleep(RETRY_SECONDS)


def _ask_once(path: str, call: ttrpc.Request, end: float) -> bytes:
    connection = _connect(path, end)
    try:
        require_root(connection, path)
        timeout_ns = int(DEADLINE_SECONDS * 1e9)
        payload = ttrpc.encode_request(call, timeout_ns=timeout_ns)
        connection.sendall(ttrpc.encode_frame(ttrpc.Frame(1, ttrpc.REQUEST, payload)))
        reader = ttrpc.FrameReader()
        while True:  # bounded by the deadline
            connection.settimeout(max(end - time.monotonic(), 0.001))
            received = connection.recv(65536)
            if not received:
                raise ConnectionResetError("the daemon hung up")
            for frame in reader.feed(received):
                if frame.kind == ttrpc.RESPONSE and frame.stream == 1:
                    return ttrpc.decode_response(frame.payload)
            if time.monotonic() >= end:
                raise TimeoutError
    finally:
        connection.close()


def _connect(path: str, end: float) -> socket:
    """Connect, waiting for a daemon that is being restarted."""
    while True:  # bounded by the deadline
        connection = socket(AF_UNIX, SOCK_STREAM)
        connection.settimeout(max(end - time.monotonic(), 0.001))
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            connection.close()
            if time.monotonic() + RETRY_SECONDS >= end:
                raise
            time.sleep(RETRY_SECONDS)
            continue
        except OSError:
            connection.close()
            raise
        return connection


def require_root(connection: socket, path: str) -> None:
    """Return if root serves there, or whoever runs this; or raise RefusalError.

    Who called listen(2) is the peer, not who answers: systemd, or the daemon where that
    is root itself. enforcerd as its own user passes only on a socket of systemd's.
    """
    peer = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
    uid = int.from_bytes(peer[4:8], sys.byteorder)
    if uid not in (0, os.geteuid()):
        raise RefusalError(
            f"{path} is not root's but uid {uid}'s, so its answer is worth nothing"
            " [ENF-1603]; next: enforcer explain ENF-1603"
        )


def no_answer(error: Exception, socket_path: str, so: str = "nothing starts") -> str:
    """Say why there is no answer, what follows, and which command is next."""
    if isinstance(error, ttrpc.ProtocolError):
        return (
            f"the answer of enforcerd on {socket_path} made no sense, so {so}: "
            f"{shown(str(error))} [ENF-1604]; next: systemctl restart enforcer"
        )
    if isinstance(error, TimeoutError):
        return (
            f"enforcerd did not answer on {socket_path} in time, so {so} "
            "[ENF-1602]; next: systemctl restart enforcer"
        )
    why = shown(getattr(error, "strerror", None) or str(error))
    return (
        f"enforcerd cannot be reached on {socket_path} ({why})"
        f", so {so} [ENF-1601]; next: systemctl status enforcer"
    )


def _refuse(message: str, options: dict[str, str]) -> int:
    """Say no where the engine shows it: Docker and ctr the log, BuildKit stderr."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    if options.get("log"):  # where containerd's shim looks for runc's last words
        line = f'{{"level":"error","msg":"{quoted}","time":"{stamp}"}}\n'
        try:
            with open(options["log"], "a", encoding="ascii") as file:  # noqa: PTH123
                file.write(line)
        except OSError as error:
            _say(f"enforcer: {options['log']}: {error}")
    _say(message)
    return REFUSED


def _say(text: str) -> None:
    """Write to standard error as it is.

    Not with print: for pods and `ctr run --null-io` the shim gives a /dev/null opened
    for reading, and what Python cannot flush turns our exit status into its 120.
    """
    try:  # noqa: SIM105 - contextlib costs the gate milliseconds
        os.write(2, f"{text}\n".encode("ascii", "backslashreplace"))
    except OSError:
        pass  # runc's log has it


def is_monitor(conf: str) -> bool:
    """Only root's own plain file that says so; anything else means enforce."""
    try:
        handle = os.open(conf, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        status = os.fstat(handle)
        regular = status.st_mode & 0o170000 == 0o100000
        trusted = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
        return regular and trusted and os.read(handle, 64).strip() == b"mode=monitor"
    except OSError:
        return False
    finally:
        os.close(handle)


def append(path: str, line: str) -> None:
    """Add a line to the gate's own log, as long as that is short; never fail."""
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        handle = os.open(path, flags, 0o600)
    except OSError:
        return  # monitor mode: nothing may stop a start
    try:
        if os.fstat(handle).st_size < MAX_GATE_LOG_BYTES:
            os.write(handle, line.encode("ascii", "backslashreplace"))
    except OSError:
        pass
    finally:
        os.close(handle)


def shown(untrusted: str) -> str:
    """One line of printable ASCII, bounded."""
    clean = "".join(c if " " <= c <= "~" else "?" for c in untrusted[:1000])
    return clean.strip()


def split(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """Split our own options (three names and their values) from the engine's."""
    names = (option.lstrip("-") for option in argv[0:6:2])
    return dict(zip(names, argv[1:6:2], strict=True)), argv[7:]

"""enforcerd: settings into objects, objects into sockets, until told to stop."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime

import grpc.aio
import structlog

from enforcer import __version__
from enforcer.api.ask import AskHandler
from enforcer.api.judge import Judge
from enforcer.api.process import (
    cannot_start,
    option_parser,
    set_up_log,
    watchdog_seconds,
)
from enforcer.api.services import (
    AdminService,
    admin_server,
    verifier_server,
)
from enforcer.api.sockets import (
    Door,
    Handler,
    bind_socket,
    inherited_sockets,
    inner_folder,
    notify,
    splice_to,
)
from enforcer.api.status import HostStatus
from enforcer.assembly import (
    admission,
    assemble,
    engines,
    fullness_notice,
    host_rules,
    laxities,
    load_policy,
    policy_places,
    resolver,
    sweep,
    sweep_rules,
)
from enforcer.audit.clock import HostClock
from enforcer.audit.log import FileAuditLog
from enforcer.core.errors import EnforcerError
from enforcer.core.host_policy import HostPolicy
from enforcer.core.policy import PolicyInvalidError
from enforcer.files import locked, make_folder
from enforcer.hooks.nri.state import load_notice
from enforcer.intake.pulls import Pulls
from enforcer.ports import LiveEngines, PolicyInForce
from enforcer.settings import Settings, load_settings
from enforcer.sources.trust import Fingerprint, fingerprint

# A change is in force within a second: it is seen at a look, and put in force at the
# next one if nobody went on writing in between.
LOOK_SECONDS = 0.25
GRACE_SECONDS = 4.0  # for what is being judged when we are told to stop
GROUP = "enforcer"

log = structlog.get_logger("enforcerd")


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status (design section 7)."""
    parser = option_parser("enforcerd", __doc__)
    parser.add_argument(
        "--in-process",
        action="store_true",
        help="read the engines here, as root, instead of asking enforcer-resolver",
    )
    arguments = parser.parse_args(argv)
    set_up_log()
    folders = (arguments.config_dir, arguments.state_dir, arguments.run_dir)
    try:
        settings = load_settings(*folders)
        make_folder(settings.run_dir, mode=0o755)
        lock = inner_folder(settings.run_dir) / "daemon.lock"
        with locked(lock, wait=False) as held:
            if not held:
                log.error("another enforcerd serves here", run_dir=str(folders[2]))
                return 3
            asked = engines if arguments.in_process else resolver
            daemon = Daemon(settings, lambda: load_settings(*folders), asked(settings))
            asyncio.run(daemon.serve())
    except (EnforcerError, OSError) as error:
        return cannot_start(error)
    return 0


class Daemon:
    """One running enforcerd."""

    def __init__(
        self, settings: Settings, reread: Callable[[], Settings], asked: LiveEngines
    ) -> None:
        self._settings = settings
        self._reread = reread
        self._host = assemble(settings)
        self._audit = FileAuditLog(settings.audit_dir)
        self._admission = admission(self._host, settings, asked, self._audit)
        self._sweep = sweep(self._host, settings, self._admission, asked, self._audit)
        self._pulls = Pulls(lambda: self._settings)
        self._judge = Judge(
            self._admission,
            deadline_seconds=settings.deadline_seconds,
            fetch=self._pulls,
        )
        self._problem = ""
        self._loaded_at: datetime | None = None
        self._reloading = threading.Lock()
        self._seen: Fingerprint = ()
        self._started = time.monotonic()
        self._stopping = asyncio.Event()

    async def serve(self) -> None:
        """Open the sockets, say READY, and serve until a signal; then drain."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        with contextlib.suppress(EnforcerError):  # noted; till then all is denied
            self.reload()
        verifier = verifier_server(self._judge)
        admin = admin_server(
            AdminService(self._judge, status=self.status, reload=self.reload)
        )
        doors = self._doors()
        await self._start_grpc({"verify": verifier, "admin": admin})
        for door in doors:
            await door.start()
        tasks = [asyncio.create_task(t) for t in (self._watchdog(), self._watch())]
        # A thread that nobody waits for: an engine that hangs must not hold us up.
        threading.Thread(target=self._sweep.run, name="sweep", daemon=True).start()
        threading.Thread(target=self._tidy, name="tidy", daemon=True).start()
        notify("READY=1", f"STATUS={self._summary()}")
        log.info("serving", run_dir=str(self._settings.run_dir), status=self._summary())
        await self._stopping.wait()
        notify("STOPPING=1")
        log.info("stopping")
        self._sweep.end()
        for task in tasks:
            task.cancel()
        for door in doors:
            door.stop()
        await asyncio.gather(
            verifier.stop(GRACE_SECONDS),
            admin.stop(GRACE_SECONDS),
            self._judge.drain(GRACE_SECONDS),  # the gate's questions
        )
        self._judge.close()
        self._pulls.close()

    def reload(self) -> str:
        """Read settings, policy and trust again; return the policy's digest.

        Raises:
            EnforcerError: What is wrong; what was in force stays in force.
        """
        with self._reloading:
            self._seen = self._look()  # before reading: what changes then is seen next
            return self._reload()

    def _reload(self) -> str:
        try:
            settings = self._reread()
            force = self._host.policy.reload(lambda: self._load(settings))
        except EnforcerError as error:
            self._problem = str(error)
            log.error("reload failed, the old policy stays", reason=self._problem)
            raise
        self._problem = ""
        self._loaded_at = HostClock().now()
        self._settings = settings
        self._admission.replace_rules(host_rules(settings))
        self._sweep.changed(sweep_rules(settings))
        for note in self._policy_notices(force):
            log.warning("policy", note=note)
        log.info("policy in force", digest=str(force.policy.digest))
        return str(force.policy.digest)

    def _load(self, settings: Settings) -> PolicyInForce:
        """Read the policy as one: what somebody wrote to meanwhile may be half of it.

        Half a policy can allow what the whole denies, and parse just as well.
        """
        force = load_policy(settings)
        if self._look() != self._seen:
            raise PolicyInvalidError(
                "the policy changed while it was read",
                remedy="It is read again as soon as nobody writes to it.",
            )
        return force

    def status(self) -> HostStatus:
        """Return what is in force, for `enforcer status`."""
        try:
            force = self._host.policy.current()
            kept: PolicyInForce | None = force
            unusable = [
                found.what
                for found in force.stores.stores.values()
                if isinstance(found, EnforcerError)
            ]
            warnings: tuple[str, ...] = (*self._policy_notices(force), *unusable)
        except EnforcerError as error:
            kept, warnings = None, ()
            self._problem = self._problem or str(error)
        return HostStatus(
            version=__version__,
            mode=self._settings.mode,
            policy_path=str(self._settings.policy_place),
            force=kept,
            loaded_at=self._loaded_at,
            policy_problem=self._problem,
            notices=(
                *laxities(self._settings),
                *warnings,
                *load_notice(self._settings.run_dir, time.time()),
                *fullness_notice(self._settings),
            ),
            uptime_seconds=int(time.monotonic() - self._started),
            pid=os.getpid(),
            engines=tuple(
                (one.kind, str(one.socket), str(one.root))
                for one in self._settings.engines
            ),
            cache=self._cache_size(),
            audit_head=self._audit.head,
            sweep=self._sweep.view,
        )

    def _cache_size(self) -> tuple[int, int, int] | None:
        try:
            size = self._host.cache.size()
        except (EnforcerError, OSError):  # `cache fsck` says what is wrong with it
            return None
        return size.signatures, size.subjects, size.bytes

    def _tidy(self) -> None:
        try:
            self._host.cache.tidy()
        except EnforcerError as error:  # the next writer does it, or says why not
            log.warning("signature cache not tidied", problem=error.what)

    def _policy_notices(self, force: PolicyInForce) -> tuple[str, ...]:
        policy = force.policy
        now = HostClock().now()
        ends = policy.notices(now) if isinstance(policy, HostPolicy) else ()
        return (*policy.warnings, *ends)

    def _look(self) -> Fingerprint:
        return fingerprint(policy_places(self._settings))

    async def _watch(self) -> None:
        """Put a changed policy in force by itself; half of a write is not one."""
        last, told = self._seen, self._summary()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if told != (told := self._summary()):
                notify(f"STATUS={told}")
            found = await asyncio.to_thread(self._look)
            if found == last and found != self._seen:
                with contextlib.suppress(EnforcerError):  # noted, and shown in status
                    await asyncio.to_thread(self.reload)
            last = found

    def _summary(self) -> str:
        own = self._problem or f"mode {self._settings.mode}, policy in force"
        return "; ".join(filter(None, (own, self._sweep.view.summary)))

    def _on_hangup(self) -> None:
        now = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6)
        notify("RELOADING=1", f"MONOTONIC_USEC={now}")
        with contextlib.suppress(EnforcerError):
            self.reload()
        notify("READY=1", f"STATUS={self._summary()}")

    def _doors(self) -> list[Door]:
        inner = inner_folder(self._settings.run_dir)
        handlers: dict[str, tuple[Handler, int]] = {
            "enforcer.sock": (splice_to(inner / "verify"), 0o660),
            "admin.sock": (splice_to(inner / "admin"), 0o600),
            "ask.sock": (AskHandler(self._judge), 0o600),
        }
        inherited = inherited_sockets()
        doors = []
        for name, (handler, mode) in handlers.items():
            listener = inherited.get(name) or bind_socket(
                self._settings.run_dir / name,
                mode=mode,
                group=GROUP if mode == 0o660 else None,
            )
            doors.append(Door(listener, handler, owner_only=mode == 0o600))
        return doors

    async def _start_grpc(self, servers: dict[str, grpc.aio.Server]) -> None:
        for name, server in servers.items():
            path = inner_folder(self._settings.run_dir) / name
            path.unlink(missing_ok=True)
            server.add_insecure_port(f"unix:{path}")
            await server.start()

    async def _watchdog(self) -> None:
        """Tell systemd we live, as long as a judging thread does."""
        every = watchdog_seconds()
        while every:
            await asyncio.sleep(every)
            if await self._judge.is_alive():
                notify("WATCHDOG=1")


if __name__ == "__main__":
    sys.exit(main())

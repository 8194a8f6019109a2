"""enforcer-cri: cri.sock in front of containerd's own, until told to stop."""

import asyncio
import signal

import grpc.aio
import structlog

from enforcer.api.process import (
    cannot_start,
    option_parser,
    set_up_log,
    watchdog_seconds,
)
from enforcer.api.sockets import (
    Door,
    bind_socket,
    inherited_sockets,
    inner_folder,
    notify,
    splice_to,
)
from enforcer.core.errors import EnforcerError
from enforcer.files import locked, make_folder
from enforcer.hooks.asking import Asker
from enforcer.hooks.cri.proxy import CHANNEL_OPTIONS, SERVER_OPTIONS, CriProxy
from enforcer.settings import EngineSettings, Settings, SettingsError, load_settings

MAX_CALLS = 1024  # at once; kubelet has a few dozen
GRACE_SECONDS = 4.0  # for calls that are under way when we are told to stop
SOCKET = "cri.sock"

log = structlog.get_logger("enforcer-cri")


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status (design section 7)."""
    parser = option_parser("enforcer-cri", __doc__)
    given = parser.parse_args(argv)
    set_up_log()
    try:
        settings = load_settings(given.config_dir, given.state_dir, given.run_dir)
        make_folder(settings.run_dir, mode=0o755)
        with locked(settings.run_dir / "cri.lock", wait=False) as held:
            if not held:
                log.error("another enforcer-cri serves here")
                return 3
            asyncio.run(_serve(settings, _engine(settings)))
    except (EnforcerError, OSError) as error:
        return cannot_start(error)
    return 0


def _engine(settings: Settings) -> EngineSettings:
    """Return the containerd that CRI means: the first one that is listed."""
    for engine in settings.engines:
        if engine.kind == "containerd":
            return engine
    raise SettingsError(
        "no containerd among `engines`", remedy="List the one that serves CRI."
    )


async def _serve(settings: Settings, engine: EngineSettings) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    asker = Asker(
        "cri",
        socket=settings.run_dir / "ask.sock",
        gate_conf=settings.config_dir / "gate.conf",
        gate_log=settings.log_dir / "gate.log",
    )
    async with grpc.aio.insecure_channel(
        f"unix:{engine.socket}", options=CHANNEL_OPTIONS
    ) as channel:
        server = grpc.aio.server(
            options=SERVER_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS
        )
        proxy = CriProxy(channel, asker, str(engine.root))
        server.add_generic_rpc_handlers((proxy,))
        door = await _open(settings, server)
        watching = asyncio.create_task(_watchdog())
        notify("READY=1", f"STATUS=in front of {engine.socket}")
        log.info("serving", socket=SOCKET, engine=str(engine.socket))
        await stopping.wait()
        notify("STOPPING=1")
        watching.cancel()
        door.stop()
        await server.stop(GRACE_SECONDS)


async def _open(settings: Settings, server: grpc.aio.Server) -> Door:
    """Serve on cri.sock, to root and ourselves alone."""
    path = inner_folder(settings.run_dir, "cri-inner") / "cri"
    path.unlink(missing_ok=True)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    listener = inherited_sockets().get(SOCKET) or bind_socket(
        settings.run_dir / SOCKET, mode=0o600
    )
    door = Door(listener, splice_to(path), owner_only=True)
    await door.start()
    return door


async def _watchdog() -> None:
    """Tell systemd that the loop which passes calls on still turns."""
    every = watchdog_seconds()
    while every:
        await asyncio.sleep(every)
        notify("WATCHDOG=1")

"""A process with one door: served until SIGTERM or SIGINT, and systemd told of it."""

import asyncio
import signal
from typing import Protocol

import structlog

from enforcer.api.process import watchdog_seconds
from enforcer.api.sockets import Door, notify


class Handler(Protocol):
    """Who answers at the door."""

    async def is_alive(self) -> bool:
        """Whether it may still answer; without it systemd starts the process anew."""
        ...

    def close(self) -> None:
        """Take no more work."""
        ...


async def serve(door: Door, handler: Handler, *, doing: str) -> None:
    """Serve until a signal says stop; `doing` is the status that systemd shows."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await door.start()
    watching = asyncio.create_task(_watchdog(handler))
    notify("READY=1", f"STATUS={doing}")
    structlog.get_logger().info("serving", doing=doing)
    await stopping.wait()
    notify("STOPPING=1")
    watching.cancel()
    door.stop()
    handler.close()


async def _watchdog(handler: Handler) -> None:
    every = watchdog_seconds()
    while every:
        await asyncio.sleep(every)
        if await handler.is_alive():
            notify("WATCHDOG=1")

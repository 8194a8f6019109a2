"""What every long-running process of ours does: log to stderr, tell systemd."""

import contextlib
import os
import socket
import sys

import structlog

NOTIFY_SECONDS = 0.2  # systemd listens at once; one that does not holds up no start


def notify(*lines: str) -> None:
    """Tell systemd, if it wants to know (sd_notify(3)); never fail over it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel,
    ):
        channel.settimeout(NOTIFY_SECONDS)
        channel.connect(address.replace("@", "\0", 1))
        channel.send("\n".join(lines).encode())


def watchdog_seconds() -> float:
    """How often systemd wants to hear WATCHDOG=1; 0 where it does not."""
    return int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6


def set_up_log() -> None:
    """Write one JSON object a line to standard error, where the journal reads."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )

"""What every long-running process of ours does: log to stderr, keep systemd content."""

import os
import sys

import structlog


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

"""What every long-running process of ours does: log to stderr, keep systemd content."""

import argparse
import os
import sys
from pathlib import Path

import structlog

from enforcer import __version__
from enforcer.core.errors import EnforcerError


def option_parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what each takes: --config-dir, --state-dir, --run-dir."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    for name in ("config", "state", "run"):
        parser.add_argument(f"--{name}-dir", type=Path, metavar="DIR")
    parser.add_argument("--version", action="version", version=__version__)
    return parser


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


def cannot_start(error: EnforcerError | OSError) -> int:
    """Log why this process ends before it serves; return its exit status."""
    log = structlog.get_logger()
    if isinstance(error, EnforcerError):
        log.error("cannot start", code=str(error.code), reason=str(error))
        return 4
    log.error("cannot start", reason=str(error))
    return 3

"""What every long-running process of ours does: log to stderr, keep systemd content."""

import argparse
import os
import sys
import traceback
from pathlib import Path

import structlog
from structlog.typing import ExcInfo

from enforcer import __version__
from enforcer.core.errors import EnforcerError

MAX_FRAMES = 30  # of a traceback, the innermost


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
            structlog.processors.ExceptionRenderer(_where),
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


def _where(exc_info: ExcInfo) -> str:
    """Say what was raised and where, without its words: they may hold hostile bytes."""
    frames = traceback.extract_tb(exc_info[2])[-MAX_FRAMES:]
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return " > ".join([*places, exc_info[0].__name__])

"""`enforcer prove`: an unsigned image down every door, and what truly happened."""

import argparse
import signal
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from enforcer.cli.main import DONE, FAILED, UsageError
from enforcer.cli.output import coloured, is_json, print_json, settings_of
from enforcer.core.errors import clip

if TYPE_CHECKING:
    from enforcer.host.prove import DoorResult

_COLOURS = {"refused": "green", "skipped": "dim"}
MONITOR = "mode: monitor - every door is open by design; nothing is refused"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument(
        "--door",
        action="append",
        metavar="NAME",
        help="try this door only, as docker-start or docker-runtime:crun; repeatable",
    )


def run(arguments: argparse.Namespace) -> int:
    """Return 0 if every live door refused, and 5 if not."""
    from enforcer.host.prove import DOORS, is_proven, prove

    only = arguments.door or []
    for name in only:
        if name.partition(":")[0] not in DOORS:
            known = ", ".join(DOORS)
            raise UsageError(f'no door is called "{clip(name)}"; there are {known}')
    settings = settings_of(arguments)
    results = prove(settings, only=only, stopped=_on_signals())
    if is_json(arguments):
        print_json(
            {
                "doors": [_json(result) for result in results],
                "open": sum(result.result == "open" for result in results),
                "mode": settings.mode,
            }
        )
    else:
        _print(results, settings.mode)
    return DONE if is_proven(results) else FAILED


def _on_signals() -> Callable[[], bool]:
    """Return whether to stop: after a signal, so that what was made is removed."""
    came = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: came.set())
    return came.is_set


def _json(result: "DoorResult") -> dict[str, object]:
    return {
        "engine": result.engine,
        "door": result.door,
        "result": str(result.result),
        "code": result.code,
        "decision": result.decision,
        "what": result.what,
    }


def _print(results: Sequence["DoorResult"], mode: str) -> None:
    if mode == "monitor":
        print(coloured(MONITOR, "red"))
    width = max((len(result.door) for result in results), default=0)
    engine = ""
    for result in results:
        if result.engine != engine:
            engine = result.engine
            print(engine)
        word = result.result.upper() if result.result == "open" else str(result.result)
        padded = coloured(f"{word:10}", _COLOURS.get(result.result, "red"))
        print(f"  {padded}  {result.door:{width}}  {_said(result)}")
    counts = [
        f"{n} {word}"
        for word in ("refused", "open", "not proven", "hung", "skipped")
        if (n := sum(result.result == word for result in results))
    ]
    print(", ".join(counts))


def _said(result: "DoorResult") -> str:
    if result.result == "skipped":
        return result.what
    if result.decision and result.result == "refused":
        return f"{result.code} (decision {result.decision})"
    return f"{result.code} {result.what}"

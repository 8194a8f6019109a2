"""`enforcer status`: what the daemon enforces right now, on one screen.

The daemon tells it on root's own socket; whether an engine can be reached, this program
tries itself, because enforcerd opens no engine's socket. `-o json` prints

    version, mode, uptime_seconds, pid
    policy   path, digest ("": none, all is denied), problem (why the newest files are
             not in force), loaded_at (RFC 3339), statements, signers
    trust    anchors, and of the one that ends first: ends, store, subject
    cache    signatures, subjects (what they are about), bytes
    engines  of each kind, socket, root, reachable, problem
    doors    who asked within the day: name (its own word), allowed, denied, asked_at
    day      of the last 24 h, or since the start: allowed, denied, p50_ms, p99_ms
    allowed, denied (both since the start), notices (all that makes this host laxer than
    it could be, and what ends soon), audit_head (sha256 of the newest line of the log)
    sweep    of what runs: at, running, denied, unjudged, from_the_start, stopped,
             restarted, found (the denied and the unjudged), problems

Exit: 0 a policy is in force, 3 no daemon, 4 none is, or not the newest.
"""

import argparse
import socket
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from enforcer.api.status_client import fetch_status
from enforcer.cli.main import DONE, MISCONFIGURED
from enforcer.cli.output import coloured, is_json, print_json, settings_of
from enforcer.cli.status_sweep import print_sweep, running_line, sweep_members
from enforcer.core.rfc3339 import format_rfc3339, parse_rfc3339

if TYPE_CHECKING:
    from enforcer.api.v1.enforcer_pb2 import Engine, StatusResponse

CONNECT_SECONDS = 1.0
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes: nothing of its own."""


def asks_nobody(_: argparse.Namespace) -> bool:
    """Whether this needs no internet: it asks the daemon alone."""
    return True


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon; 3 without one, 4 when it has no usable policy."""
    found = _members(fetch_status(settings_of(arguments).run_dir))
    if is_json(arguments):
        print_json(found)
    else:
        _print(found, datetime.now(UTC))
    policy = found["policy"]
    return DONE if policy["digest"] and not policy["problem"] else MISCONFIGURED


def _members(found: "StatusResponse") -> dict[str, Any]:
    return {
        "version": found.version,
        "mode": found.mode,
        "uptime_seconds": found.uptime_seconds,
        "pid": found.pid,
        "policy": {
            "path": found.policy_path,
            "digest": found.policy_digest,
            "problem": found.policy_problem,
            "loaded_at": _time(found.policy_loaded_at),
            "statements": found.statements,
            "signers": found.signers,
        },
        "trust": {
            "anchors": found.trust.anchors,
            "ends": _time(found.trust.earliest_end),
            "store": found.trust.store,
            "subject": found.trust.subject,
        },
        "cache": {
            "signatures": found.cache.signatures,
            "subjects": found.cache.subjects,
            "bytes": found.cache.bytes,
        },
        "engines": [_engine(engine) for engine in found.engines],
        "doors": [
            {
                "name": door.name,
                "allowed": door.allowed,
                "denied": door.denied,
                "asked_at": _time(door.asked_at),
            }
            for door in found.doors
        ],
        "day": {
            "allowed": found.day.allowed,
            "denied": found.day.denied,
            "p50_ms": found.day.p50_us / 1000,
            "p99_ms": found.day.p99_us / 1000,
        },
        "allowed": found.allowed,
        "denied": found.denied,
        "notices": list(found.notices),
        "audit_head": found.audit_head,
        "sweep": sweep_members(found.sweep),
    }


def _engine(engine: "Engine") -> dict[str, Any]:
    problem = _connection_problem(engine.socket)
    return {
        "kind": engine.kind,
        "socket": engine.socket,
        "root": engine.root,
        "reachable": not problem,
        "problem": problem,
    }


def _connection_problem(path: str) -> str:
    """Return why nothing takes connections there; "" where something does."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(CONNECT_SECONDS)
        try:
            client.connect(path)
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or type(error).__name__
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
    return ""


def _time(milliseconds: int) -> str:
    if not milliseconds:
        return ""
    return format_rfc3339(datetime.fromtimestamp(milliseconds / 1000, UTC))


def _print(found: dict[str, Any], now: datetime) -> None:
    enforcing = found["mode"] == "enforce"
    mode = coloured(f"mode {found['mode']}", "green" if enforcing else "red")
    up = _span(found["uptime_seconds"])
    print(f"enforcer {found['version']}   {mode}   up {up}   pid {found['pid']}")
    for name, line in (
        ("policy", _policy(found["policy"])),
        ("trust", _trust(found["trust"], now)),
        ("cache", _cache(found["cache"])),
        *((engine["kind"], _engine_line(engine)) for engine in found["engines"]),
        *((door["name"], _door(door, now)) for door in found["doors"]),
        ("running", running_line(found["sweep"])),
        ("last 24 h", _day(found["day"], found["uptime_seconds"])),
    ):
        print(f"  {name:11} {line}")
    print_sweep(found["sweep"])
    if found["policy"]["problem"]:
        print(f"  {coloured('problem', 'red')}     {found['policy']['problem']}")
    for notice in found["notices"]:
        print(f"  {coloured('notice', 'red')}      {notice}")


def _policy(policy: dict[str, Any]) -> str:
    if not policy["digest"]:
        return f"none is in force, so all is denied   {policy['path']}"
    who = f", {policy['signers']} signers" if policy["signers"] else ""
    return (
        f"{policy['statements']} statements{who}   {policy['digest'][:19]}   "
        f"loaded {policy['loaded_at']}   {policy['path']}"
    )


def _trust(trust: dict[str, Any], now: datetime) -> str:
    if not trust["anchors"]:
        return "no trust anchors"
    days = (parse_rfc3339(trust["ends"]) - now).days
    soon = f"{trust['ends'][:10]} ({days} d)"
    return (
        f"{trust['anchors']} anchors   the first ends "
        f"{coloured(soon, 'red') if days < 30 else soon}: {trust['store']} "
        f"{trust['subject']}"
    )


def _cache(cache: dict[str, Any]) -> str:
    size = cache["bytes"] / 1024**2
    return (
        f"{cache['signatures']} signatures about {cache['subjects']}   {size:.1f} MiB"
    )


def _engine_line(engine: dict[str, Any]) -> str:
    problem = coloured(f"cannot be reached: {engine['problem']}", "red")
    reached = "reachable" if engine["reachable"] else problem
    return f"{reached}   {engine['socket']}   {engine['root']}"


def _door(door: dict[str, Any], now: datetime) -> str:
    ago = (now - parse_rfc3339(door["asked_at"])).total_seconds()
    counts = f"{door['allowed']} allowed, {door['denied']} denied"
    return f"asked {_span(max(ago, 0))} ago   {counts}"


def _day(day: dict[str, Any], uptime: int) -> str:
    since = "" if uptime >= 86400 else "   (since the start)"
    return (
        f"{day['allowed']} allowed   {day['denied']} denied   "
        f"p50 {day['p50_ms']:.1f} ms   p99 {day['p99_ms']:.1f} ms{since}"
    )


def _span(seconds: float) -> str:
    """Say how long in the two largest units: `6d 4h`."""
    left, words = int(seconds), list[str]()
    for unit, size in _UNITS:
        if left >= size or (size == 1 and not words):
            words.append(f"{left // size}{unit}")
            left %= size
    return " ".join(words[:2])

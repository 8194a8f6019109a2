"""Plug-ins as processes: named ones only, bounded in time and bytes, gone after.

Each call has one second, so those that are to end well run alone.
"""

import json
import os
import time
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from enforcer.core.plugin import IDENTITY, PluginDemand, PluginError, PluginQuestion
from enforcer.sources.plugins import PluginRunner, TrustedPlugin, find_plugins

DEMAND = PluginDemand("com.example.p", None)
QUESTION = PluginQuestion(
    "notary.x509", "text/plain", None, None, {}, [], [b"leaf"], ["*"], []
)
METADATA = json.dumps(
    {
        "name": "com.example.p",
        "description": "d",
        "version": "1.0.0",
        "url": "u",
        "supportedContractVersions": ["1.0"],
        "capabilities": [IDENTITY],
    }
)
YES = json.dumps({"verificationResults": {IDENTITY: {"success": True}}})


def plugin(folder: Path, verify: str) -> Path:
    """A plug-in whose verify-signature does this in sh."""
    path = folder / "com.example.p" / "notation-com.example.p"
    path.parent.mkdir()
    path.write_text(
        f"""#!/bin/sh
case $1 in
get-plugin-metadata) echo '{METADATA}' ;;
verify-signature) {verify} ;;
esac
"""
    )
    path.chmod(0o755)
    return path


def runner(path: Path) -> PluginRunner:
    named = TrustedPlugin(path, Digest.of(path.read_bytes()))
    return PluginRunner({"com.example.p": named})


def ask(run: PluginRunner) -> bool:
    return run.ask(DEMAND, frozenset({IDENTITY}), QUESTION)[IDENTITY].success


@pytest.mark.alone
def test_a_named_plugin_is_asked_and_answers(tmp_path: Path) -> None:
    """It gets the question on standard input and none of our environment."""
    seen = tmp_path / "seen"
    path = plugin(tmp_path, f"cat >{seen}; env >>{seen}; echo '{YES}'")

    assert ask(runner(path))

    text = seen.read_text()
    assert '"certificateChain": ["bGVhZg=="]' in text
    assert "HOME=" not in text


def test_a_plugin_that_the_host_does_not_name_is_never_started(
    tmp_path: Path,
) -> None:
    """Off unless named; being installed is not being trusted."""
    ran = tmp_path / "ran"
    plugin(tmp_path, f"touch {ran}")

    with pytest.raises(PluginError, match="does not name"):
        ask(PluginRunner({}))
    assert not ran.exists()


def test_other_content_than_the_named_digest_is_never_started(tmp_path: Path) -> None:
    """An upgrade, or somebody, changed the executable."""
    ran = tmp_path / "ran"
    path = plugin(tmp_path, f"touch {ran}")
    run = runner(path)
    path.write_text(path.read_text() + "\n")

    with pytest.raises(PluginError, match=r"expected sha256:.*found sha256:"):
        ask(run)
    assert not ran.exists()


def test_a_plugin_others_can_write_is_never_started(tmp_path: Path) -> None:
    """Between hashing and starting it could become another."""
    path = plugin(tmp_path, "true")
    run = runner(path)
    path.chmod(0o777)

    with pytest.raises(PluginError, match="can be written by group or others"):
        ask(run)


def test_a_linked_plugin_is_never_started(tmp_path: Path) -> None:
    """PL71: a regular file."""
    path = plugin(tmp_path, "true")
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))

    with pytest.raises(PluginError):
        ask(PluginRunner({"com.example.p": TrustedPlugin(path, None)}))
    assert find_plugins(tmp_path) == {}


@pytest.mark.parametrize(
    ("verify", "why"),
    [
        ("sleep 30", "no answer within"),
        ("sleep 30 & disown; exit 0", "no answer within|cannot be used"),
        (f"echo '{YES}'; exec >&- 2>&-; sleep 30", "no answer within"),
        (f"echo '{YES}'; exit 3", "status 3"),
        ("echo no >&2; exit 1", "status 1: no"),
        ("kill -9 $$", "status -9"),
        ("true", "cannot be used"),
        ("yes", "cannot be used|status"),
        ("yes >&2", "no answer within|status|cannot be used"),
        ("head -c 3000000 /dev/zero", "more than|status"),
    ],
)
@pytest.mark.alone
def test_whatever_a_plugin_does_is_bounded(
    tmp_path: Path, verify: str, why: str
) -> None:
    """Two seconds and a megabyte, then it is a refusal."""
    path = plugin(tmp_path, verify)
    started = time.monotonic()

    with pytest.raises(PluginError, match=why):
        ask(runner(path))

    assert time.monotonic() - started < 15  # and not thirty


@pytest.mark.alone
def test_nothing_a_plugin_started_outlives_it(tmp_path: Path) -> None:
    """Neither a child in its session, nor one that left it."""
    pids = tmp_path / "pids"
    leave = "setsid sh -c 'echo $$ >>%s; exec sleep 60' >/dev/null 2>&1 </dev/null &"
    stay = "sh -c 'echo $$ >>%s; exec sleep 60' >/dev/null 2>&1 </dev/null &"
    both = f"{leave % pids} {stay % pids}"
    wait = f"while [ $(wc -l <{pids}) -lt 2 ]; do sleep 0.01; done"
    path = plugin(tmp_path, f"touch {pids}; {both} {wait}; echo '{YES}'")

    assert ask(runner(path))

    for pid in pids.read_text().split():
        assert not _is_running(int(pid))


def test_a_plugin_that_is_not_executable_is_a_refusal(tmp_path: Path) -> None:
    """And the message says which one."""
    path = plugin(tmp_path, "true")
    path.chmod(0o644)

    with pytest.raises(PluginError, match="Permission denied"):
        ask(runner(path))


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z" and os.getpid() != pid

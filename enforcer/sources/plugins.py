"""Run Notation verification plug-ins: named ones only, bounded, killed with children.

A plug-in is a program of somebody else's. It is found by a name out of a signature
whose chain is trusted by then, started only if the host names it with the digest of
its executable, gets nothing of our environment, and is gone when it has answered.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.plugin import (
    MAX_ANSWER_BYTES,
    PluginDemand,
    PluginError,
    PluginQuestion,
    PluginResult,
    parse_metadata,
    parse_verify_answer,
    verify_request,
)
from enforcer.files import read_file
from enforcer.pipes import talk

MAX_EXECUTABLE_BYTES = 256 * 1024 * 1024  # notation's own limit for a plug-in archive
CALL_SECONDS = 1.0  # two calls must fit the decision's three seconds
MAX_ERROR_BYTES = 4096
MAX_SWEEPS = 10  # against a plug-in that keeps forking while it is being killed


@dataclass(frozen=True, slots=True)
class TrustedPlugin:
    """A plug-in the host names: where its executable is, and its sha256 digest.

    Without a digest (`verify --plugins DIR`, for the caller alone) any content runs.
    """

    path: Path
    digest: Digest | None


class PluginRunner:
    """Asks plug-ins; each call starts a new process and ends it."""

    def __init__(self, plugins: Mapping[str, TrustedPlugin]) -> None:
        self._plugins = plugins

    def ask(
        self, demand: PluginDemand, capable: frozenset[str], question: PluginQuestion
    ) -> Mapping[str, PluginResult]:
        """Return a result for each capability that the plug-in has, of `capable`.

        `question.capabilities` is replaced by those.

        Raises:
            PluginError: Not named by the host, other content, no answer in time, or
                an answer that breaks the contract.
        """
        plugin = self._find(demand.name)
        metadata = parse_metadata(
            _run(plugin.path, "get-plugin-metadata", b"{}"), demand=demand
        )
        both = sorted(metadata.capabilities & capable, reverse=True)
        if not both and question.critical:
            raise PluginError(
                f"the verification plug-in {clip(demand.name)} is not asked anything, "
                "so nobody processes the signature's critical attributes",
                remedy="Do not skip the check that plug-in makes.",
            )
        if not both:
            return {}
        asked = replace(question, capabilities=both)
        raw = _run(plugin.path, "verify-signature", verify_request(asked))
        return parse_verify_answer(raw, asked)

    def _find(self, name: str) -> TrustedPlugin:
        plugin = self._plugins.get(name)
        if plugin is None:
            raise PluginError(
                f"the signature needs the verification plug-in {clip(name)}, which "
                "this host does not name",
                remedy="Name it under `notation.plugins` in enforcer.yaml, with the "
                "digest of its executable.",
            )
        try:
            content = read_file(
                plugin.path,
                max_bytes=MAX_EXECUTABLE_BYTES,
                trusted=plugin.digest is not None,
                follow=False,
            )
        except EnforcerError as error:
            raise PluginError(error.what, remedy=error.remedy) from error
        if plugin.digest is not None and not plugin.digest.matches(content):
            raise PluginError(
                f"{plugin.path} is not the executable enforcer.yaml names: expected "
                f"{plugin.digest.short}, found {Digest.of(content).short}",
                remedy="Install the right one, or name the new digest.",
            )
        return plugin


def find_plugins(folder: Path) -> dict[str, TrustedPlugin]:
    """Return the plug-ins of a Notation plug-in folder: NAME/notation-NAME."""
    found = {}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        path = entry / f"notation-{entry.name}"
        if path.is_file() and not path.is_symlink() and not entry.is_symlink():
            found[entry.name] = TrustedPlugin(path, None)
    return found


def _run(path: Path, command: str, question: bytes) -> bytes:
    """Run one command of a plug-in and return what it printed, or raise PluginError."""
    mark = f"ENFORCER_PLUGIN={secrets.token_hex(16)}"
    name, _, value = mark.partition("=")
    try:
        process = subprocess.Popen(  # noqa: S603 - root named it, by digest
            [path, command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", name: value},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(path, f"it cannot be started: {error.strerror}") from error
    end = time.monotonic() + CALL_SECONDS
    with process:
        try:
            # one byte more than is taken, so that the parser notices the excess
            answer, complaint = talk(
                process,
                question,
                until=end,
                max_bytes=MAX_ANSWER_BYTES + 1,
                max_error_bytes=MAX_ERROR_BYTES,
            )
            status = process.wait(max(end - time.monotonic(), 0))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise _failed(path, f"no answer within {CALL_SECONDS:g} s") from None
        finally:
            _end(process, mark.encode())
    if status != 0:
        said = clip(complaint.decode("utf-8", "replace").strip())
        raise _failed(path, f"{command} ended with status {status}: {said}")
    return answer


def _end(process: subprocess.Popen[bytes], mark: bytes) -> None:
    """Kill the plug-in, its session, and what left the session but kept our mark."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(MAX_SWEEPS):
        marked = [pid for pid in _processes() if mark in _environment(pid)]
        for pid in marked:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not marked:
            return


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []  # gone, or not ours to see


def _failed(path: Path, what: str) -> PluginError:
    return PluginError(
        f"verification plug-in {path}: {what}", remedy="Look at the plug-in."
    )

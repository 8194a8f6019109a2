"""`verify … --exec CMD`: hand the verified bytes to a program, and become it.

Nothing changes between check and use: CMD reads a sealed copy that was hashed after
it was sealed, and compared with the descriptor in the manifest that was judged.
"""

import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from enforcer.cli.sealed import sealed_copy
from enforcer.cli.target import Target
from enforcer.core.artifact import Part, find_part, parse_artifact
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, MalformedError, clip

PLACE = "{}"
# As env, timeout and nohup: ours where CMD did not run, else CMD's own.
NOT_RUN, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127


class ExecError(EnforcerError):
    """Verified, and still not run: `status` is the exit status that says so."""

    def __init__(self, what: str, remedy: str, code: Code, status: int) -> None:
        super().__init__(what, remedy=remedy, code=code)
        self.status = status


def part_of(target: Target, name: str) -> Part:
    """Return the one layer that is meant, before anything is judged.

    Raises:
        ExecError: It is not clear which.
    """
    try:
        return find_part(parse_artifact(target.contents[0].raw), name)
    except MalformedError as error:
        what = f"{target.shown}: {error.what}"
        raise ExecError(what, error.remedy, Code.EXEC_LAYER, NOT_RUN) from error


def become(
    command: Sequence[str], part: Part, target: Target, groups: Sequence[int]
) -> NoReturn:
    """Replace this process by CMD, `{}` in its words being the verified bytes.

    `groups` are the supplementary ones this process was started with.

    Raises:
        EnforcerError: The bytes are not the signed ones, or CMD cannot be run.
    """
    if target.stream is None:
        raise ExecError(
            f"{target.shown} has no layers that could be handed on",
            "Name an artifact in a layout, an archive or a registry.",
            Code.EXEC_LAYER,
            NOT_RUN,
        )
    handle = sealed_copy(part.content, target.stream(part.content))
    fcntl.fcntl(handle, fcntl.F_SETFD, 0)  # stays open across exec
    words = [word.replace(PLACE, f"/proc/self/fd/{handle}") for word in command]
    _as_found(groups)
    try:
        os.execvp(words[0], words)  # noqa: S606 - no shell: that is meant
    except OSError as error:
        is_absent = isinstance(error, FileNotFoundError)
        raise ExecError(
            f"{clip(words[0])} cannot be run: {error.strerror}",
            "The bytes are verified; name a program by its path, or one in PATH.",
            Code.EXEC_COMMAND,
            NOT_FOUND if is_absent else NOT_EXECUTABLE,
        ) from error


def _as_found(groups: Sequence[int]) -> None:
    """Undo what Python and the command line changed for themselves."""
    sys.stdout.flush()
    sys.stderr.flush()
    for name in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(name, signal.SIG_DFL)
    with contextlib.suppress(OSError):  # only root may, and only root's were dropped
        os.setgroups(list(groups))

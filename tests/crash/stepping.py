"""Let a child of ours live until its N-th system call, or for some milliseconds.

ptrace(2) stops it before and after each call; what the call is does not matter, so
this is the same on every processor. The death is that of `kill -9`.
"""

import ctypes
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_OPTIONS = 0x100000 | 1  # EXITKILL: no child outlives us; TRACESYSGOOD
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long

Told = Callable[[], None]
Act = Callable[[Told], None]  # it calls what it is given after each step


@dataclass(frozen=True, slots=True)
class Life:
    """How many steps a child told of, whether it was killed, and its stops."""

    done: int
    killed: bool
    stops: int = 0


def killed_at(act: Act, stop: int | None) -> Life:
    """Fork, and kill the child at this stop; None: only count them."""
    pid, reads = fork(act, before=_ask_to_be_traced)
    os.waitpid(pid, 0)  # it stopped itself
    _ptrace(_SETOPTIONS, pid, _OPTIONS)
    stops = 0
    while stops != stop:
        _ptrace(_SYSCALL, pid, 0)
        _, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            return ended(reads, status, stops)
        stops += 1
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return ended(reads, status, stops)


def killed_after(act: Act, seconds: float) -> Life:
    """Fork, and kill the child when this time is over."""
    pid, reads = fork(act)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return ended(reads, status)


def watched(act: Act) -> Life:
    """Fork, and wait for the child's own end."""
    pid, reads = fork(act)
    _, status = os.waitpid(pid, 0)
    return ended(reads, status)


def fork(act: Act, before: Callable[[], None] = lambda: None) -> tuple[int, int]:
    """Start a child of this process; return its pid, and where it tells of steps."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writes)
        return pid, reads
    status = 1
    try:
        os.close(reads)
        before()
        act(lambda: _tell(writes))
        status = 0
    except BaseException:  # noqa: BLE001 - it must not return into the parent's code
        traceback.print_exc()
    finally:
        os._exit(status)


def _tell(writes: int) -> None:
    os.writev(writes, [b"."])  # a call that only we make: see `recording`, `faults`


def ended(reads: int, status: int, stops: int = 0) -> Life:
    """Return the life of a child that ended like this (waitpid(2)).

    Raises:
        AssertionError: By itself, and not well.
    """
    with os.fdopen(reads, "rb") as pipe:
        done = len(pipe.read())
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGBUS)
        return Life(done, killed=True, stops=stops)
    assert os.WEXITSTATUS(status) == 0, "a step failed: see its traceback"
    return Life(done, killed=False, stops=stops)


def _ask_to_be_traced() -> None:
    _ptrace(_TRACEME, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


def _ptrace(request: int, pid: int, data: int) -> None:
    if _libc.ptrace(request, pid, None, data) == -1:
        raise OSError(ctypes.get_errno(), f"ptrace request {request}")

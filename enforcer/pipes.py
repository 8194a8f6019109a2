"""Talk with a program through its pipes, bounded in time and size."""

import os
import select
import selectors
import subprocess
import time


def talk(
    process: subprocess.Popen[bytes],
    question: bytes,
    *,
    until: float,
    max_bytes: int,
    max_error_bytes: int = 0,
) -> tuple[bytes, bytes]:
    """Write the question while reading both outputs, each up to its limit.

    A pipe that was not made is left out. `until` is a time.monotonic().

    Raises:
        TimeoutError: The time is over.
    """
    speech = _Speech(question)
    answer, complaint = _Hearing(max_bytes), _Hearing(max_error_bytes)
    with selectors.DefaultSelector() as ready:
        for pipe, side in (
            (process.stdin, speech),
            (process.stdout, answer),
            (process.stderr, complaint),
        ):
            if pipe:
                writes = side is speech
                event = selectors.EVENT_WRITE if writes else selectors.EVENT_READ
                ready.register(pipe, event, (side, pipe))
        while ready.get_map():  # bounded by the deadline
            events = ready.select(max(until - time.monotonic(), 0))
            if not events:
                raise TimeoutError
            for key, _ in events:
                side, pipe = key.data
                if side.go_on(key.fd):
                    continue
                ready.unregister(pipe)
                pipe.close()
    return bytes(answer.heard), bytes(complaint.heard)


class _Speech:
    """What is still to be written to a pipe."""

    def __init__(self, text: bytes) -> None:
        self._unsent = text

    def go_on(self, pipe: int) -> bool:
        """Write what fits at once; False when all is said, or nobody listens."""
        try:
            sent = os.write(pipe, self._unsent[: select.PIPE_BUF])
        except BrokenPipeError:
            return False
        self._unsent = self._unsent[sent:]
        return bool(self._unsent)


class _Hearing:
    """What was read from a pipe, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.heard = bytearray()

    def go_on(self, pipe: int) -> bool:
        """Read what is there; False at the end or the limit."""
        chunk = os.read(pipe, self._limit - len(self.heard))
        self.heard += chunk
        return bool(chunk) and len(self.heard) < self._limit

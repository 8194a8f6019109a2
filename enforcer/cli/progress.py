"""How far something long is: a bar on a terminal, else a line now and then."""

import shutil
import sys
import time
from collections.abc import Callable
from typing import Self, TextIO

BAR_SECONDS = 0.1  # between two bars
LINE_SECONDS = 5.0  # between two lines in a log
BAR_WIDTH = 28
MIN_RATE_SECONDS = 0.5  # before that, a rate is chance

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


class Progress:
    """Counts bytes and shows them on standard error; a call says how many went by.

    Nothing is shown of what takes less than one interval.
    """

    def __init__(
        self,
        what: str,
        *,
        total: int | None = None,
        quiet: bool = False,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`total` is in bytes, None where it is not known; `quiet` shows nothing."""
        self._what = what
        self.total = total
        self._quiet = quiet
        self._out = out or sys.stderr
        self._is_terminal = self._out.isatty()
        self._interval = BAR_SECONDS if self._is_terminal else LINE_SECONDS
        self._clock = clock
        self._start = self._shown_at = clock()
        self._done = 0
        self._has_bar = False

    def __call__(self, count: int) -> None:
        """Count some bytes, and show them if it is time."""
        self._done += count
        now = self._clock()
        if self._quiet or now - self._shown_at < self._interval:
            return
        self._shown_at = now
        if self._is_terminal:
            self._has_bar = True
            self._out.write(f"\r{self._bar(now)}\033[K")
        else:
            self._out.write(f"enforcer: {self._what}: {self._figures(now)}\n")
        self._out.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._has_bar:  # what is printed next begins on an empty line
            self._out.write("\r\033[K")
            self._out.flush()

    def _bar(self, now: float) -> str:
        full, empty = "█", "░"
        if "utf" not in (self._out.encoding or "").lower():
            full, empty = "#", "."
        bar = ""
        if self.total:
            filled = min(BAR_WIDTH, BAR_WIDTH * self._done // self.total)
            bar = full * filled + empty * (BAR_WIDTH - filled) + "  "
        columns = shutil.get_terminal_size().columns
        return f"  {self._what:8}  {bar}{self._figures(now)}"[: columns - 1]

    def _figures(self, now: float) -> str:
        shown = size_text(self._done)
        if self.total:
            shown += f" / {size_text(self.total)}"
        seconds = now - self._start
        if seconds < MIN_RATE_SECONDS or not self._done:
            return shown
        rate = self._done / seconds
        shown += f"   {size_text(int(rate))}/s"
        if self.total:
            left = max(0, self.total - self._done) / rate
            shown += f"   {left:.0f} s"
        return shown


def size_text(count: int) -> str:
    """Write a number of bytes for people: 812 MiB, 1.2 GiB."""
    amount, unit = float(count), 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return (
        f"{amount:.1f} {_UNITS[unit]}"
        if unit > 0 and amount < 10
        else (f"{amount:.0f} {_UNITS[unit]}")
    )

"""How far a long command is: a bar on a terminal, a plain line every few seconds anywhere else."""

import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import IO, Final, Protocol, Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from reviewpulse.visible import visible

_WINDOW_SECONDS: Final = 5.0


class Status(msgspec.Struct, frozen=True):
    """How much of a total is done (bytes or reviews; None when there is no end) and what to say beside it."""

    done: float
    total: float | None
    note: str


class Progress(Protocol):
    """Where a command shows its status."""

    def show(self, status: Status) -> None:
        """Show the status; cheap enough to be called several times a second."""


class SilentProgress:
    """Shows nothing."""

    def show(self, status: Status) -> None:
        """Do nothing."""


class TerminalProgress:
    """A bar with the note and the time left; used as a context manager."""

    def __init__(self, console: Console, label: str) -> None:
        columns = (TextColumn(label), BarColumn(), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
        self._bar = RichProgress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console)
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, status: Status) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=status.done, total=status.total, description=visible(status.note))


class PlainProgress:
    """A line every few seconds, for logs and pipes; used as a context manager like the bar."""

    def __init__(
        self, stream: IO[str], label: str, every_seconds: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._label = label
        self._every_seconds = every_seconds
        self._clock = clock
        self._started = self._shown = clock()
        self._first = Status(0, None, "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, status: Status) -> None:
        """Write a line if the last one is long enough ago."""
        now = self._clock()
        if status.total != self._first.total:  # another part of the work: its own rate tells the time left
            self._started, self._first = now, status
        if now - self._shown >= self._every_seconds:
            self._shown = now
            line = plain_line(status, now - self._started, self._first.done)
            self._stream.write(f"{self._label}: {visible(line)}\n")
            self._stream.flush()


def progress_on(console: Console, label: str) -> TerminalProgress | PlainProgress:
    """Return the progress that fits where the console writes to."""
    return TerminalProgress(console, label) if console.is_terminal else PlainProgress(console.file, label)


def plain_line(status: Status, elapsed_seconds: float, done_before: float = 0) -> str:
    """Return a status as text; the time left assumes that the rest goes as fast as what was done in elapsed_seconds.

    >>> plain_line(Status(25, 100, "1,000 reviews"), elapsed_seconds=30)
    '25%, 1,000 reviews, 1:30 left'
    >>> plain_line(Status(7, None, "7 reviews"), elapsed_seconds=30)
    '7 reviews'
    """
    if not status.total:
        return status.note
    share = status.done / status.total
    if status.done <= done_before:
        return f"{share:.0%}, {status.note}"
    rest_seconds = elapsed_seconds * (status.total - status.done) / (status.done - done_before)
    minutes, seconds = divmod(round(rest_seconds), 60)
    return f"{share:.0%}, {status.note}, {minutes}:{seconds:02d} left"


class RateMeter:
    """How many a second, over the last few seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def rate_per_second(self, count: int, now: float) -> float:
        """Return the rate up to now, when the count stands at count; 0 at the first call."""
        self._seen.append((now, count))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _WINDOW_SECONDS:
            self._seen.popleft()
        first_seen, first_count = self._seen[0]
        return (count - first_count) / (now - first_seen) if now > first_seen else 0.0

"""Ends a worker that stands still, after writing down what each of its tasks and threads is doing."""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, Final

from stream_app.pulse import Pulse

log = logging.getLogger(__name__)

WORDS_SECONDS: Final = 10.0
"""How long the last words may take, a full pipe or a lock that is never given back among the reasons."""

LOOK_SECONDS: Final = 1.0
"""Longest time between two looks."""

Loops = Callable[[], Iterable[asyncio.AbstractEventLoop]]


class Watchdog:
    """A thread that looks at the pulse. It needs no event loop: a loop that is blocked is one of the things it sees.

    Should not even this thread get to run (a library that holds the interpreter for ever), faulthandler's own timer
    writes the threads' stacks and ends the process.
    """

    def __init__(
        self,
        pulse: Pulse,
        stall_seconds: float,
        loops: Loops,
        *,
        each_look: Callable[[], None],
        end: Callable[[int], None] = os._exit,
    ) -> None:
        """Prepare to watch; each_look is called some times a second whether or not a stall is looked for."""
        self._pulse = pulse
        self._stall_seconds = stall_seconds
        self._loops = loops
        self._each_look = each_look
        self._end = end
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; a stop has limits of its own."""
        self._is_over.set()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        step = min(LOOK_SECONDS, self._stall_seconds / 4) if self._stall_seconds else LOOK_SECONDS
        looked_at = time.monotonic()
        while not self._is_over.wait(step):
            elapsed, looked_at = time.monotonic() - looked_at, time.monotonic()
            if elapsed > step + LOOK_SECONDS:  # nobody ran: the process or the machine was stopped
                self._pulse.forgive(elapsed)
            if self._stall_seconds:
                self._set_last_resort(LONGEST_LOOKS * step + self._stall_seconds)
            self._each_look()
            reason = self._pulse.standstill()
            if reason is not None and not self._is_over.is_set():
                self._bark(reason)
                return

    def _bark(self, reason: str) -> None:
        self._set_last_resort(WORDS_SECONDS)
        log.critical(
            "the worker stands still: %s; it ends with exit code 1, nothing is lost, start it again. "
            "What it was doing:\n%s",
            reason,
            "\n".join([*described_tasks(self._loops()), *described_threads()]),
        )
        logging.shutdown()
        self._end(1)

    def _set_last_resort(self, seconds: float) -> None:
        if sys.__stderr__ is not None:
            faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__)


LONGEST_LOOKS: Final = 10
"""A machine under load may let the watchdog wait for so many of its looks."""


def described_tasks(loops: Iterable[asyncio.AbstractEventLoop]) -> Iterator[str]:
    """Yield a paragraph for each asyncio task: its name and every frame down to what it awaits."""
    for loop in loops:
        for task in sorted(asyncio.all_tasks(loop), key=lambda task: task.get_name()):
            yield "\n".join([f"task {task.get_name()}:", *_awaited_frames(task.get_coro())])


def _awaited_frames(waiting: Any) -> Iterator[str]:  # noqa: ANN401  # coroutines, generators and futures have no common type
    while waiting is not None:
        frame = next(
            (
                frame
                for name in ("cr_frame", "ag_frame", "gi_frame")
                if (frame := getattr(waiting, name, None)) is not None
            ),
            None,
        )
        if frame is not None:
            yield f"  {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"
        else:
            yield f"  waits for {type(waiting).__name__}"
        waiting = next(
            (
                inner
                for name in ("cr_await", "ag_await", "gi_yieldfrom")
                if (inner := getattr(waiting, name, None)) is not None
            ),
            None,
        )


def described_threads() -> Iterator[str]:
    """Yield a paragraph for each thread: its name and its stack."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames: dict[int, FrameType] = sys._current_frames()
    for ident, frame in sorted(frames.items(), key=lambda item: names.get(item[0], "")):
        yield f"thread {names.get(ident, ident)}:\n" + "".join(traceback.format_stack(frame)).rstrip()

"""Ctrl-C and SIGTERM as facts to look at, so that no review is lost count of in the middle of being sent."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Stop:
    """Whether someone asked to stop, and whether they asked again."""

    def __init__(self) -> None:
        self.requests = 0

    @property
    def is_requested(self) -> bool:
        """Whether nothing more should be sent; what is in flight is still waited for."""
        return self.requests > 0

    @property
    def is_urgent(self) -> bool:
        """Whether to wait for nothing any more."""
        return self.requests > 1


@contextlib.contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn Ctrl-C and SIGTERM into requests to stop, until the block ends; only in the main thread."""
    stop = Stop()

    def request(_number: int, _frame: FrameType | None) -> None:
        stop.requests += 1

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

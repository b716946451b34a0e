"""What one worker knows of its own life, and what that means: is it ready, and is it getting anywhere."""

import time
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

LONG_WAITS: Final = 5.0
"""A model on a slow disk, or a group that waits for its slowest member, may take so many times stall_seconds."""


class Beat(NamedTuple):
    """What the event loop sees of the worker, each time it comes round."""

    partitions: int
    """How many partitions the group gave to it."""
    waiting_reviews: int
    """How many records of these are not stored yet, as far as the worker knows."""
    has_model: bool
    is_rebalancing: bool
    """Whether the group is still being joined, or shares its partitions out anew."""


class Pulse:
    """The facts, written by the event loop and read by the threads of the watchdog and of the health server."""

    def __init__(
        self,
        stall_seconds: float,
        retry_seconds: float,
        outage_seconds: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count; outage_seconds tells how long an outage lasts by now, None when there is none."""
        self._stall_seconds = stall_seconds
        self._retry_seconds = retry_seconds
        self._outage_seconds = outage_seconds
        self._clock = clock
        self._beat = Beat(0, 0, has_model=False, is_rebalancing=True)
        self._beat_at = self._progress_at = self._settled_at = clock()

    @property
    def last(self) -> Beat:
        """What the event loop saw when it last came round."""
        return self._beat

    def beat(self, seen: Beat) -> None:
        """Note that the event loop runs, and what it saw."""
        now = self._clock()
        if _is_settled(seen) and not _is_settled(self._beat):
            self._settled_at = now
        if _is_settled(seen) and not seen.waiting_reviews:
            self._progress_at = now
        self._beat, self._beat_at = seen, now

    def progressed(self) -> None:
        """Note that a batch is done."""
        self._progress_at = self._clock()

    def forgive(self, seconds: float) -> None:
        """Leave out a time in which the whole process was stopped."""
        self._beat_at += seconds
        self._progress_at += seconds
        self._settled_at += seconds

    def standstill(self) -> str | None:
        """Return why the worker counts as stuck, None while it does not."""
        now, limit = self._clock(), self._stall_seconds
        if not limit:
            return None
        if now - self._beat_at > limit:
            return f"the event loop has not come round for {now - self._beat_at:.0f} s"
        outage = self._outage_seconds()
        if outage is not None:
            if outage <= self._retry_seconds + limit:  # an outage has a limit of its own
                self._progress_at = self._settled_at = now
                return None
            return f"an outage of {outage:.0f} s did not end the worker"
        quiet = now - self._progress_at
        if not _is_settled(self._beat):
            return f"{_unsettled(self._beat)} for {quiet:.0f} s" if quiet > LONG_WAITS * limit else None
        is_patience_over = quiet > (LONG_WAITS + 1) * limit  # one rebalance after the other
        if self._beat.waiting_reviews and (is_patience_over or min(quiet, now - self._settled_at) > limit):
            return f"{self._beat.waiting_reviews} reviews waiting and no batch done for {quiet:.0f} s"
        return None

    def unreadiness(self) -> str | None:
        """Return why the worker does not score yet, None when it is ready."""
        if not _is_settled(self._beat):
            return _unsettled(self._beat)
        return None if self._beat.partitions else "the group has no partition left for this worker"


def _is_settled(beat: Beat) -> bool:
    return beat.has_model and not beat.is_rebalancing


def _unsettled(beat: Beat) -> str:
    return "joining the group" if beat.has_model else "loading the model"


def waiting(
    ends: Mapping[int, int], fetched: Mapping[int, int], taken: Mapping[int, int], stored: Mapping[int, int]
) -> int:
    """Return how many records wait, over all partitions; each argument holds an offset for each one that has any.

    ends: after the last record of the topic; fetched: after the last that the client has fetched or stepped over;
    taken: after the last that was handed to the batches; stored: after the last in the store. The offsets of
    transaction markers and of deleted records are stepped over, so a worker that has fetched the end and stored what it
    took has nothing waiting.

    >>> waiting(ends={0: 10, 1: 5}, fetched={0: 8, 1: 5}, taken={0: 8, 1: 4}, stored={0: 6, 1: 4})
    4
    """
    behind = sum(max(end - fetched.get(partition, 0), 0) for partition, end in ends.items())
    in_hand = sum(max(end - stored.get(partition, 0), 0) for partition, end in taken.items())
    return behind + in_hand

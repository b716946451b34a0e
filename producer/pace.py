"""When each review is due: as fast as possible, so many a second, or in step with the reviews' own times.

A pace knows no clock: `now` is any count of seconds that only goes up.
"""

from typing import Protocol

from reviewpulse.errors import SettingsError


class Pace(Protocol):
    """How long to wait before the next review goes out."""

    def wait_seconds(self, timestamp: int | None, now: float) -> float:
        """Return the seconds from now until the review written at timestamp (ms UTC) is due; 0 when it is."""


class Unpaced:
    """As fast as Kafka takes them."""

    def wait_seconds(self, timestamp: int | None, now: float) -> float:  # noqa: ARG002 (Pace's signature)
        """Return 0: every review is due."""
        return 0.0


class SteadyPace:
    """So many reviews a second, evenly. What an outage held up is not caught up in a burst."""

    def __init__(self, rate_per_second: float) -> None:
        self._step_seconds = 1 / rate_per_second
        self._due: float | None = None

    def wait_seconds(self, timestamp: int | None, now: float) -> float:  # noqa: ARG002 (Pace's signature)
        """Return the seconds until the next slot."""
        due = now if self._due is None or now - self._due > 1.0 else self._due
        self._due = due + self._step_seconds
        return max(0.0, due - now)


class OwnTimesPace:
    """In step with the reviews' own times, so many times faster: the gaps between them become gaps in the stream.

    A review without a time, or from before the newest one so far, goes out at once.
    """

    def __init__(self, speedup: float) -> None:
        self._ms_per_second = 1000 * speedup
        self._start: tuple[int, float] | None = None

    def wait_seconds(self, timestamp: int | None, now: float) -> float:
        """Return the seconds until the stream's clock reaches timestamp."""
        if timestamp is None:
            return 0.0
        if self._start is None:
            self._start = (timestamp, now)
        first_timestamp, started = self._start
        return max(0.0, started + (timestamp - first_timestamp) / self._ms_per_second - now)


def pace_of(rate_per_second: float | None, speedup: float | None) -> Pace:
    """Return the pace that the options ask for; raises SettingsError for both at once or one that is not above 0."""
    if rate_per_second is not None and speedup is not None:
        raise SettingsError("--rate and --speedup exclude each other; give one of them")
    for name, value in (("--rate", rate_per_second), ("--speedup", speedup)):
        if value is not None and not 0 < value < float("inf"):
            raise SettingsError(f"{name} {value:g} must be above 0; leave it out to send as fast as possible")
    if rate_per_second is not None:
        return SteadyPace(rate_per_second)
    return Unpaced() if speedup is None else OwnTimesPace(speedup)

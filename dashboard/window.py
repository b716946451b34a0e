"""The rolling window and the buckets that it is cut into."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

MOST_BUCKETS: Final = 60
"""Of 15 minutes that makes 15 seconds each: at one review a second still enough for a share."""

_WIDTHS: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800)


@dataclass(frozen=True, slots=True)
class Window:
    """Whole seconds since 1970, from start_second to before end_second; start_second begins a bucket."""

    start_second: int
    end_second: int
    bucket_seconds: int

    @property
    def bucket_starts(self) -> range:
        """The second that each bucket begins with; the last bucket may still be filling."""
        return range(self.start_second, self.end_second, self.bucket_seconds)


def window_at(now: datetime, window_seconds: float) -> Window:
    """Return the window that ends with the second of `now`.

    Buckets begin at multiples of their width, so that a bucket keeps its place as the window moves on.

    >>> from datetime import UTC
    >>> window_at(datetime.fromtimestamp(1_007, tz=UTC), 60)
    Window(start_second=947, end_second=1008, bucket_seconds=1)
    """
    width = bucket_width(window_seconds)
    start = int(now.timestamp() - window_seconds)
    return Window(start - start % width, int(now.timestamp()) + 1, width)


def bucket_width(window_seconds: float) -> int:
    """Return the least round width in seconds that cuts the window into MOST_BUCKETS or fewer.

    >>> bucket_width(15 * 60), bucket_width(3600), bucket_width(24 * 3600)
    (15, 60, 1800)
    """
    return next((width for width in _WIDTHS if window_seconds / width <= MOST_BUCKETS), _WIDTHS[-1])

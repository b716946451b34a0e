"""How many wrong tokens an address has tried: what limits guessing at both HTTP servers."""

import math
from collections import deque
from collections.abc import Callable
from typing import Final

FAILURES_PER_MINUTE: Final = 10
"""Wrong tokens that one address may try in a minute."""

_MOST_ADDRESSES: Final = 10_000  # of which failures are remembered


class Failures:
    """Counts the wrong tokens of each address in the last minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._moments: dict[str, deque[float]] = {}

    def note(self, address: str) -> None:
        """Count a wrong token."""
        moments = self._moments.pop(address, None) or deque(maxlen=FAILURES_PER_MINUTE)
        moments.append(self._clock())
        self._moments[address] = moments  # the dictionary is in order of the last failure
        if len(self._moments) > _MOST_ADDRESSES:
            del self._moments[next(iter(self._moments))]

    def wait_seconds(self, address: str) -> int:
        """Return how long an address has to wait for its next try, 0 if it may try now."""
        moments = self._moments.get(address)
        if moments is None or len(moments) < FAILURES_PER_MINUTE:
            return 0
        return max(0, math.ceil(moments[0] + 60 - self._clock()))

"""One voice for an outage: a line when it begins, one a minute while it lasts, one when it ends."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

EVERY_SECONDS: Final = 60.0
"""How often an outage that lasts is mentioned."""

PATIENCE_SECONDS: Final = 10.0
"""How long a client's complaint is held back, until it is known whether it belongs to an outage."""


class Outages:
    """What is out of order right now, and what was said about it. Any thread may call it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, every_seconds: float = EVERY_SECONDS) -> None:
        self._clock = clock
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._failing: dict[str, str] = {}
        self._since: float | None = None
        self._said_at = 0.0
        self._held: str | None = None
        self._held_at = 0.0
        self._folded = 0
        self._quiet_until = 0.0

    def fails(self, part: str, error: BaseException) -> None:
        """Note that a part of the work meets an outage; the first of all parts is the one that is told."""
        with self._lock:
            self._failing[part] = str(error) or type(error).__name__
            if self._since is not None:
                return
            self._since = self._said_at = self._clock()
        log.warning("outage: %s; trying again until it is over", self._failing[part])

    def works(self, part: str) -> None:
        """Note that a part of the work succeeds; when no part fails any more, the outage is over."""
        with self._lock:
            self._failing.pop(part, None)
            if self._since is None or self._failing:
                return
            lasted, self._since = self._clock() - self._since, None
            self._quiet_until = self._clock() + self._every_seconds
            folded = self._take_folded()
        log.warning("the outage is over after %.0f s%s", lasted, folded)

    @property
    def seconds(self) -> float | None:
        """How long the outage lasts by now; None when there is none."""
        since = self._since
        return None if since is None else self._clock() - since

    def complain(self, message: str) -> None:
        """Fold a complaint of the Kafka client about its connection; it belongs to an outage, or is told by `look`."""
        with self._lock:
            self._folded += 1
            if self._held is None:
                self._held, self._held_at = message, self._clock()

    def look(self) -> None:
        """Say what is due by now; to be called about once a second."""
        with self._lock:
            now = self._clock()
            if self._since is not None:
                if now - self._said_at < self._every_seconds:
                    return
                self._said_at = now
                lasted, reason = now - self._since, next(iter(self._failing.values()))
                line = f"outage: lasts for {lasted:.0f} s by now: {reason}{self._take_folded()}"
            elif self._held is not None and now >= max(self._quiet_until, self._held_at + PATIENCE_SECONDS):
                line, more = f"the Kafka client reports: {self._held}", self._folded - 1
                line += f" (and {more} lines like it)" if more else ""
                self._quiet_until = now + self._every_seconds
                self._take_folded()
            else:
                return
        log.warning("%s", line)

    def _take_folded(self) -> str:
        folded, self._folded, self._held = self._folded, 0, None
        return f" (the Kafka client said so in {folded} lines)" if folded else ""


CLIENTS: Final = ("aiokafka", "faust", "mode", "kafka", "stream_app.app")
"""Whose messages are folded; Faust's consumer and app log under the name of our module that derives from them."""

OUTAGE_TALK: Final = (
    "Unable connect to node",
    "Unable to update metadata",
    "Unable to request metadata",
    "Failed fetch ",
    "Group Coordinator Request failed",
    "FindCoordinator Request failed",
    "Marking the coordinator dead",
    "Heartbeat ",
    "Error sending %s to node",
    "Error fetching metadata",
    "Got error produce response",
    "OffsetCommit failed",
    "LeaveGroup request failed",
    "Topic %s is not available",
    "Topic %s not found in cluster metadata",
    "No broker metadata found",
    "Timer %s is overlapping",
)
"""How the messages of aiokafka begin that it repeats, up to a hundred times a second, while a broker is away."""

OUTAGE_TALKERS: Final = ("kafka.net", "kafka.cluster", "kafka.admin")
"""Loggers of kafka-python that tell of connections; what they mean comes to us as an error as well."""

EVERYDAY: Final = ("Heartbeat failed for group %s because it is rebalancing", "Unable to decode member_metadata")
"""Warnings about what is part of a rebalance, and of a look at the group's members."""

MOST_KINDS: Final = 1000
"""How many kinds of messages are remembered; then the memory begins anew."""


def fold_clients(outages: Outages) -> None:
    """Let the root logger's handlers show what the Kafka clients say folded, and from warnings on."""
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(FoldClients(outages))


class FoldClients(logging.Filter):
    """Lets a handler show what the Kafka clients say once, instead of many times a second.

    What they say about a connection that is gone goes to the outages' one voice. A message of any other kind passes;
    the same kind passes again once a minute, with the number of those left out.
    """

    def __init__(self, outages: Outages, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._outages = outages
        self._clock = clock
        self._kinds: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is shown; a number of messages left out is added to its text."""
        if not _is_of(record.name, CLIENTS):
            return True
        template = str(record.msg)
        if template.startswith(EVERYDAY):
            return False
        if _is_of(record.name, OUTAGE_TALKERS) or template.startswith(OUTAGE_TALK):
            self._outages.complain(record.getMessage())
            return False
        return self._is_due(record, (record.name, template))

    def _is_due(self, record: logging.LogRecord, kind: tuple[str, str]) -> bool:
        now = self._clock()
        shown_at, left_out = self._kinds.get(kind, (now - EVERY_SECONDS, 0))
        if now - shown_at < EVERY_SECONDS:
            self._kinds[kind] = (shown_at, left_out + 1)
            return False
        if len(self._kinds) >= MOST_KINDS:
            self._kinds.clear()
        self._kinds[kind] = (now, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more like it)", None
        return True


def _is_of(name: str, families: tuple[str, ...]) -> bool:
    """Return whether a logger is one of these or below one.

    >>> _is_of("kafka.net.transport", ("kafka",)), _is_of("model", ("mode",))
    (True, False)
    """
    return any(name == family or name.startswith(f"{family}.") for family in families)

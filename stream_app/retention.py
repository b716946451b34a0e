"""Retention: raw rows older than a set time leave the store while workers write it; roll-ups and offsets stay."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, Self

import sqlalchemy as sa

from reviewpulse.errors import StoreError
from reviewpulse.records import to_milliseconds
from reviewpulse.schema import offsets, predictions, rejections
from stream_app.store import transaction

log = logging.getLogger(__name__)

CHUNK_ROWS: Final = 1_000
"""How many rows one transaction deletes at most."""

BUSY_SHARE: Final = 1 / 3
"""How much of the time a pruning may hold the store's lock: the rest is for batches."""

LONGEST_ROUND_SECONDS: Final = 60.0
SHORTEST_ROUND_SECONDS: Final = 0.1

_RAW: Final = ((predictions, predictions.c.scored_at_ms), (rejections, rejections.c.rejected_at_ms))
"""The tables that are pruned, each with the time that counts."""


class Pruned(NamedTuple):
    """What one transaction deleted."""

    rows: int
    is_last: bool
    """Whether nothing older is left in the partition."""


def prune(engine: sa.Engine, before: datetime, pause: Callable[[float], bool]) -> int:
    """Delete all raw rows older than a moment, in small transactions, and return how many there were.

    After each transaction `pause` is given how many seconds to leave the store to others, and may
    return True to stop. Raises StoreError.
    """
    rows = 0
    for source_id, partition in _partitions(engine):
        while True:
            began = time.monotonic()
            pruned = prune_chunk(engine, source_id, partition, before)
            rows += pruned.rows
            if pruned.is_last:
                break
            if pause((time.monotonic() - began) * (1 / BUSY_SHARE - 1)):
                return rows
    return rows


def prune_chunk(
    engine: sa.Engine, source_id: int, partition: int, before: datetime, most_rows: int = CHUNK_ROWS
) -> Pruned:
    """Delete a partition's oldest rows as far as they are older than a moment, most_rows at most, in one transaction.

    Offsets grow with the time of scoring, so the rows to delete lie below the first that is young
    enough (should a clock have jumped, a row waits until those before it are old). The same
    transaction moves kept_from. Raises StoreError.
    """
    place = (offsets.c.source_id == source_id) & (offsets.c.partition == partition)
    with transaction(engine) as connection:
        kept_from = connection.scalar(sa.select(offsets.c.kept_from).where(place).with_for_update())
        oldest = _oldest(connection, source_id, partition, kept_from or 0, most_rows)
        limit_ms = to_milliseconds(before)
        young = next((number for number, (_, at_ms) in enumerate(oldest) if at_ms >= limit_ms), len(oldest))
        if young == 0:
            return Pruned(0, is_last=True)
        kept_from = oldest[young - 1][0] + 1
        for table, _ in _RAW:
            connection.execute(table.delete().where(*_below(table, source_id, partition, kept_from)))
        connection.execute(offsets.update().where(place).values(kept_from=kept_from))
    return Pruned(young, is_last=young < most_rows)


class Pruner:
    """Keeps a store pruned, in a thread of its own, for as long as the block lasts that it is used in.

    A round that fails is told of, once, and tried again later: deliveries do not depend on it. A clock that jumps ahead
    deletes nothing: time goes on from the start by the monotonic clock, unless the wall clock is behind that.
    """

    def __init__(
        self,
        engine: sa.Engine,
        keep_days: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prune rows older than keep_days; 0 keeps everything."""
        self._engine = engine
        self._keep = timedelta(days=keep_days)
        self._now = now
        self._monotonic = monotonic
        self._started = now() - timedelta(seconds=monotonic())
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pruner", daemon=True)
        self._is_failing = False

    def __enter__(self) -> Self:
        if self._keep:
            log.info("pruning rows older than %g days", self._keep / timedelta(days=1))
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the transaction in flight end, if it does so soon."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def _run(self) -> None:
        keep_seconds = self._keep.total_seconds()
        round_seconds = min(max(keep_seconds / 10, SHORTEST_ROUND_SECONDS), LONGEST_ROUND_SECONDS)
        while not self._is_over.wait(round_seconds):
            self._prune()

    def _prune(self) -> None:
        try:
            rows = prune(self._engine, self._steady_now() - self._keep, self._is_over.wait)
        except StoreError as exc:
            if not self._is_failing:
                log.warning("old rows stay until it works again: %s", exc)
            self._is_failing = True
            return
        self._is_failing = False
        log.debug("pruned %d rows", rows)

    def _steady_now(self) -> datetime:
        return min(self._now(), self._started + timedelta(seconds=self._monotonic()))


def _partitions(engine: sa.Engine) -> list[tuple[int, int]]:
    """Return (source_id, partition) of all that was ever read, topics that are gone among them."""
    with transaction(engine) as connection:
        rows = connection.execute(sa.select(offsets.c.source_id, offsets.c.partition))
        return sorted((row.source_id, row.partition) for row in rows)


def _oldest(
    connection: sa.Connection, source_id: int, partition: int, kept_from: int, most_rows: int
) -> list[tuple[int, int]]:
    """Return (offset, time in ms) of a partition's first rows of both tables, by offset; the primary keys find them."""
    found: list[tuple[int, int]] = []
    for table, at_ms in _RAW:
        statement = (
            sa.select(table.c.offset, at_ms)
            .where(table.c.source_id == source_id, table.c.partition == partition, table.c.offset >= kept_from)
            .order_by(table.c.offset)
            .limit(most_rows)
        )
        found += [(offset, moment) for offset, moment in connection.execute(statement)]
    return sorted(found)[:most_rows]


def _below(table: sa.Table, source_id: int, partition: int, offset: int) -> list[sa.ColumnElement[bool]]:
    return [table.c.source_id == source_id, table.c.partition == partition, table.c.offset < offset]

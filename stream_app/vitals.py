"""What a worker shows beside its batches: that its event loop comes round, and how far the topic reaches."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from stream_app.app import ScoringApp
from stream_app.outages import Outages
from stream_app.pipeline import OUTAGES, Pipeline
from stream_app.pulse import Beat, Pulse, waiting

BEAT_SECONDS: Final = 0.5
"""How often the event loop shows that it runs."""

PROGRESS_SECONDS: Final = 1.0
"""How often the store is told how far the topic reaches."""

EndsOf = Callable[[Sequence[int]], Awaitable[Mapping[int, int]]]


class Vitals:
    """The pulse and the lag of one worker."""

    def __init__(
        self,
        app: ScoringApp,
        pipeline: Pipeline,
        pulse: Pulse,
        outages: Outages,
        ends_of: EndsOf,
        retry_seconds: float,
    ) -> None:
        """Show how the app and its pipeline are; ends_of asks Kafka for the ends of partitions.

        A consumer that has silently died would never hear of new records, and a batch in flight may take long to find
        that Kafka is away.
        """
        self._app = app
        self._pipeline = pipeline
        self._pulse = pulse
        self._outages = outages
        self._ends_of = ends_of
        self._retry_seconds = retry_seconds
        self._ends: Mapping[int, int] = {}

    async def run(self) -> None:
        """Go on until cancelled; raises what ends the worker: a defect, or an outage that lasts too long."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                group.create_task(self._tick())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _beat(self) -> None:
        """Show that the event loop runs, and what there is to do; waits for nothing else."""
        while True:
            partitions = self._app.partitions()
            fetched, taken = self._app.read_so_far() if partitions else ({}, {})
            ends = {partition: self._ends.get(partition, 0) for partition in partitions}
            ends |= {part: max(end, ends.get(part, 0)) for part, end in self._app.high_watermarks().items()}
            self._pulse.beat(
                Beat(
                    len(partitions),
                    waiting(ends, fetched, taken, self._pipeline.next_offsets) if partitions else 0,
                    has_model=self._pipeline.has_model,
                    is_rebalancing=not self._app.is_settled,
                )
            )
            await asyncio.sleep(BEAT_SECONDS)

    async def _tick(self) -> None:
        """Keep the store's lag fresh, notice a topic made anew, and end an outage that lasts too long."""
        failing_since: float | None = None
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            try:
                self._ends = await self._ends_of(self._app.partitions())
                await self._pipeline.note_progress(self._app.high_watermarks())
            except OUTAGES as exc:
                self._outages.fails("the progress", exc)
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > self._retry_seconds:
                    raise
            else:
                self._outages.works("the progress")
                failing_since = None

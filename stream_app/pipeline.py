"""What happens to a micro-batch, in order: decode, score, publish, store. The caller acks afterwards."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor, Future
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from aiokafka.errors import KafkaError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_delay,
    stop_any,
    stop_when_event_set,
    wait_exponential,
)

from reviewpulse.card import Card
from reviewpulse.decision import Predictions
from reviewpulse.errors import BrokerError, SourceChangedError, StoreError
from reviewpulse.labels import LABELS
from reviewpulse.records import Origin, Rejected, Review, ScoredReview, Source, TextLimit, scored
from reviewpulse.settings import KafkaSettings
from reviewpulse.text import model_text
from stream_app.batch import Message, Outcome, decode_batch, first_hole, unseen
from stream_app.outages import Outages
from stream_app.sifting import sift
from stream_app.steps import OnStep, Step, unwatched
from stream_app.store import PredictionStore
from stream_app.topics import Sender, publish

T = TypeVar("T")

log = logging.getLogger(__name__)

OUTAGES = (BrokerError, StoreError, KafkaError, OSError)
"""Errors of the world around us, time-outs among them: retried in place. Anything else is a defect and stops the
worker at once."""


class Model(Protocol):
    """What the pipeline needs of a classifier."""

    card: Card

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Return calibrated probabilities and labels, in step with the texts."""


class Sinks(NamedTuple):
    """Where a batch goes, and what tells which topic it came from."""

    send: Sender
    store: PredictionStore
    read_source: Callable[[], Source]


class Pipeline:
    """Takes batches of one source through the model into the sinks, one batch at a time.

    Blocking work (decoding, the model, the store, the look at Kafka's metadata) runs in the executor.
    The model may still be loading when the pipeline is made: the first batch waits for it.
    """

    def __init__(
        self,
        model: Future[Model],
        sinks: Sinks,
        executor: Executor,
        kafka: KafkaSettings,
        *,
        retry_seconds: float,
        publish_seconds: float,
        clock: Callable[[], datetime],
        text_limit: TextLimit,
        outages: Outages | None = None,
        on_step: OnStep = unwatched,
    ) -> None:
        self._model = model
        self._sinks = sinks
        self._executor = executor
        self._kafka = kafka
        self._retry_seconds = retry_seconds
        self._publish_seconds = publish_seconds
        self._clock = clock
        self._text_limit = text_limit
        self._on_step = on_step
        self._outages = outages or Outages()
        self._source: Source | None = None
        self._source_id = 0
        self._next_offsets: dict[int, int] = {}
        self._is_ending = threading.Event()
        self.scored_reviews = 0
        self.rejected_records = 0
        self.idle = asyncio.Lock()
        """Held while a batch is in flight, or while it is looked up where to read on."""

    async def resume(self) -> Mapping[int, int]:
        """Look up which topic this is and return where to read on: the next offset of each stored partition.

        Raises SourceChangedError when it is no longer the topic that this pipeline began with.
        """
        async with self.idle:
            await self._retried(self._check_source)
            self._next_offsets = await self._retried(self._in_executor, self._sinks.store.next_offsets, self._source_id)
            return self._next_offsets

    async def process(self, messages: Sequence[Message], high_watermarks: Mapping[int, int]) -> None:
        """Score, publish and store a batch; when it returns, the batch may be acked.

        A message that the store has is passed over. Outages are retried in place for
        retry_seconds, then raised. Raises SourceChangedError when the topic was made anew meanwhile, and BrokerError
        when a partition has lost records that the store knows, or the Kafka client has passed over some.
        """
        async with self.idle:
            self._refuse_shortened(messages, high_watermarks)
            self._refuse_holes(messages)
            fresh = unseen(messages, self._next_offsets)
            if not fresh:
                return
            self._on_step(Step.fetched)
            source = await self._retried(self._check_source)
            self._on_step(Step.identified)
            outcome = await self._in_executor(self._score, source, fresh)
            self._on_step(Step.scored)
            await self._retried(self._publish, outcome)
            self._on_step(Step.published)
            await self._retried(self._store, outcome, high_watermarks)
            self._on_step(Step.stored)
            self._next_offsets = {**self._next_offsets, **outcome.next_offsets}

    @property
    def next_offsets(self) -> Mapping[int, int]:
        """By partition, the offset after the last record that is in the store."""
        return self._next_offsets

    @property
    def has_model(self) -> bool:
        """Whether the model is loaded, or has failed to load."""
        return self._model.done()

    async def settle(self) -> None:
        """Wait until no batch is in flight."""
        async with self.idle:
            return

    def give_up_retrying(self) -> None:
        """Let a batch that is in an outage fail at its next attempt: the worker is to stop."""
        self._is_ending.set()

    async def note_progress(self, high_watermarks: Mapping[int, int]) -> None:
        """Record in the store how far the assigned partitions reach; one attempt. Raises like process."""
        async with self.idle:
            await self._check_source()
            await self._in_executor(self._sinks.store.note_progress, self._source_id, high_watermarks, self._clock())

    def _refuse_shortened(self, messages: Sequence[Message], high_watermarks: Mapping[int, int]) -> None:
        """Raise BrokerError for new records in places of the same topic where the store has had others."""
        for partition in {message.partition for message in messages}:
            end, stored = high_watermarks.get(partition), self._next_offsets.get(partition, 0)
            if end is not None and end < stored:
                raise BrokerError(
                    f"partition {partition} of topic {self._kafka.reviews_topic} ends at {end}, but the store has read "
                    f"up to {stored}: Kafka has lost records of it, and new ones would be taken for those; keep what "
                    "the topic holds, delete it and make it again, then the worker reads it from its start"
                )

    def _refuse_holes(self, messages: Sequence[Message]) -> None:
        """Raise BrokerError when records were read and not handed over: they would count as stored."""
        if hole := first_hole(messages, self._next_offsets):
            raise BrokerError(
                f"the Kafka client passed over records of partition {hole.partition} that lie before {hole.follows}; "
                "nothing is lost: start the worker again, it reads on where the store ends"
            )

    async def _check_source(self) -> Source:
        """Return the source, registered in the store; raises SourceChangedError when it is another than before."""
        source = await self._in_executor(self._sinks.read_source)
        if self._source is None:
            self._source_id = await self._in_executor(self._sinks.store.register, source)
            self._source = source
        elif source != self._source:
            raise SourceChangedError(f"topic {source.topic} was made anew: its id is {source.topic_id}")
        return source

    def _score(self, source: Source, messages: Sequence[Message]) -> Outcome:
        reviews, rejected = decode_batch(source, messages, self._text_limit)
        if not reviews:
            return Outcome([], rejected)
        texts = [model_text(review.title or "", review.text) for _, review in reviews]
        model = self._model.result()
        kept, predictions, culprits = sift(model.predict, texts)
        labelled = self._label([reviews[row] for row in kept], predictions, model.card) if predictions else []
        values = {(message.partition, message.offset): message.value for message in messages}
        blamed = [_blame(reviews[row][0], error, values) for row, error in culprits.items()]
        return Outcome(labelled, [*rejected, *blamed])

    def _label(
        self, reviews: Sequence[tuple[Origin, Review]], predictions: Predictions, card: Card
    ) -> list[tuple[Origin, Review, ScoredReview]]:
        now, model = self._clock(), (card.name, card.version)
        rows = zip(reviews, predictions.probabilities.tolist(), predictions.classes.tolist(), strict=True)
        return [
            (origin, review, scored(review, probabilities, LABELS[label], model, now, origin))
            for (origin, review), probabilities, label in rows
        ]

    async def _publish(self, outcome: Outcome) -> None:
        publishing = publish(outcome, self._sinks.send, self._kafka, lambda: self._on_step(Step.publishing))
        await asyncio.wait_for(publishing, self._publish_seconds)

    async def _store(self, outcome: Outcome, high_watermarks: Mapping[int, int]) -> None:
        def storing() -> None:
            self._on_step(Step.storing)

        self.scored_reviews += await self._in_executor(
            self._sinks.store.write, self._source_id, outcome, self._clock(), high_watermarks, storing
        )
        self.rejected_records += len(outcome.rejected)

    async def _in_executor(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *args)

    async def _retried(self, attempt: Callable[..., Coroutine[None, None, T]], *args: object) -> T:
        """Run a coroutine function until it succeeds; a defect is raised as it came, an outage that lasts as ours."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(OUTAGES),
            stop=stop_any(stop_after_delay(self._retry_seconds), stop_when_event_set(self._is_ending)),
            wait=wait_exponential(multiplier=0.1, max=5),
            before_sleep=self._note_outage,
            reraise=True,
        )
        try:
            result: T = await retrying(attempt, *args)
        except asyncio.CancelledError:
            self._outages.works("a batch")  # whoever takes over meets the outage anew, if it lasts
            raise
        except (KafkaError, OSError) as exc:
            said = str(exc) or type(exc).__name__
            raise BrokerError(
                f"Kafka at {self._kafka.broker} did not take a batch for {self._retry_seconds:g} s ({said}); "
                "nothing is lost: start the worker again when Kafka answers"
            ) from exc
        self._outages.works("a batch")
        return result

    def _note_outage(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is not None:
            self._outages.fails("a batch", error)


def _blame(origin: Origin, error: Exception, values: Mapping[tuple[int, int], bytes | None]) -> tuple[Origin, Rejected]:
    """Return the rejection of a review that the model failed on."""
    log.warning("rejected %d/%d, on which the model failed", origin.partition, origin.offset, exc_info=error)
    reason = f"the model failed on it: {type(error).__name__}: {error}"
    return origin, Rejected(values[origin.partition, origin.offset], reason)

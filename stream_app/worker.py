"""One worker process: loads the model, opens the sinks, and runs the Faust app until it is told to stop."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from aiokafka.errors import KafkaError

from reviewpulse.broker import SourceReader, ensure_topics, unreachable
from reviewpulse.card import find_checkpoint
from reviewpulse.errors import BrokerError
from reviewpulse.schema import connect
from reviewpulse.settings import KafkaSettings, StoreSettings, WorkerSettings
from stream_app.app import PUBLISH_SECONDS, ScoringApp
from stream_app.batch import Message
from stream_app.pipeline import OUTAGES, Model, Pipeline, Sinks
from stream_app.store import PredictionStore

log = logging.getLogger(__name__)

THREADS: Final = 3
"""One for the batch, one for the progress beside it, and at the start one that loads the model."""

STOP_SECONDS: Final = 10.0
"""How long a stop waits for the batch in flight, and then for the Kafka client."""

PROGRESS_SECONDS: Final = 1.0
"""How often the store is told how far the topic reaches."""


def load_model(worker: WorkerSettings) -> Model:
    """Return the checkpoint's classifier; raises CheckpointError when it cannot be had."""
    from reviewpulse.classifier import SentimentClassifier, limit_threads, silence_transformers

    silence_transformers()
    limit_threads(worker.threads)
    return SentimentClassifier.load(find_checkpoint(worker.checkpoint), worker.device)


def run_worker(
    kafka: KafkaSettings, store: StoreSettings, worker: WorkerSettings, load: Callable[[WorkerSettings], Model]
) -> int:
    """Score the stream until SIGTERM or SIGINT, then return how many reviews were scored.

    Raises BrokerError, StoreError or CheckpointError when the worker cannot start or an outage
    lasts too long, and SourceChangedError when the topic was made anew. The process is to end soon
    afterwards: threads of a Kafka client may be left.
    """
    ensure_topics(kafka)
    engine = connect(store.store, writable=True)
    source = SourceReader(kafka)
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="pipeline")
    try:
        model = executor.submit(load, worker)  # seconds, in which the group is joined
        run = _Run(kafka, worker, model, PredictionStore(engine), source, executor)
        # Not asyncio.run: it would wait for the Kafka client's tasks, which in an outage do not end.
        return asyncio.new_event_loop().run_until_complete(run.until_stopped())
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        source.close()
        engine.dispose()


class _Run:
    """The worker inside its event loop."""

    def __init__(
        self,
        kafka: KafkaSettings,
        worker: WorkerSettings,
        model: Future[Model],
        store: PredictionStore,
        source: SourceReader,
        executor: ThreadPoolExecutor,
    ) -> None:
        self._kafka = kafka
        self._worker = worker
        self._model = model
        self._store = store
        self._source = source
        self._executor = executor

    async def until_stopped(self) -> int:
        """Run the app; return how many reviews were scored, or raise what ended it."""
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = loop.create_future()
        self._app = ScoringApp(self._kafka, self._worker, resume=self._resume, process=self._process)
        self._pipeline = Pipeline(
            self._model,
            Sinks(self._app.send_record, self._store, self._source.read),
            self._executor,
            self._kafka,
            retry_seconds=self._worker.retry_seconds,
            publish_seconds=min(PUBLISH_SECONDS, max(self._worker.retry_seconds, 1)),
            clock=lambda: datetime.now(UTC),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        self._model.add_done_callback(lambda model: self._model_loaded(loop, model))
        try:
            await self._until_over()
        finally:
            await self._stop()
        log.info("stopped; scored %d reviews", self._pipeline.scored_reviews)
        return self._pipeline.scored_reviews

    async def _until_over(self) -> None:
        starting = asyncio.ensure_future(self._app.start())
        ticking = asyncio.ensure_future(self._tick())  # from the start: joining the group may wait for ever
        try:
            await asyncio.wait([starting, self._over], return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                await self._started(starting)
                log.info("reading topic %s at %s", self._kafka.reviews_topic, self._kafka.broker)
                await self._app.wait(asyncio.shield(self._over))  # the app cancels what it is given when it crashes
        finally:
            ticking.cancel()
            starting.cancel()
        if not self._over.done():
            raise BrokerError(f"the Kafka client gave up: {self._app.crash_reason!r}; start the worker again")
        self._over.result()

    async def _started(self, starting: asyncio.Future[None]) -> None:
        try:
            await starting
        except KafkaError as exc:
            raise unreachable(self._kafka, exc) from exc

    async def _stop(self) -> None:
        """Let the batch in flight finish, then stop the app; neither may take for ever when Kafka is gone."""
        self._pipeline.give_up_retrying()
        for what, waiting in (("the batch in flight", self._pipeline.idle.acquire()), ("Kafka", self._app.stop())):
            _, pending = await asyncio.wait([asyncio.ensure_future(waiting)], timeout=STOP_SECONDS)
            if pending:
                log.warning("stopping without %s, which did not end within %g s", what, STOP_SECONDS)

    def _model_loaded(self, loop: asyncio.AbstractEventLoop, model: Future[Model]) -> None:
        """Say so, or end the worker; called in the thread that loaded it, maybe after the end."""
        error = model.exception()
        if error is None:
            log.info("loaded checkpoint %s %s", model.result().card.name, model.result().card.version)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self._end, error)

    async def _resume(self) -> Mapping[int, int]:
        try:
            return await self._pipeline.resume()
        except Exception as exc:
            self._end(exc)
            raise

    async def _process(self, messages: Sequence[Message]) -> None:
        """Process a batch; when that fails for good, end the worker and never return, so that nothing is acked."""
        try:
            await self._pipeline.process(messages, self._app.high_watermarks())
        except Exception as exc:  # noqa: BLE001  # whatever it is, it ends the worker and is raised from until_stopped
            self._end(exc)
        if self._over.done():
            await asyncio.Event().wait()

    async def _tick(self) -> None:
        """Keep the store's lag fresh, notice a topic made anew, and end an outage that lasts too long."""
        failing_since: float | None = None
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            try:
                await self._pipeline.note_progress(self._app.high_watermarks())
            except OUTAGES as exc:
                failing_since = failing_since or self._begin_outage(exc)
                if time.monotonic() - failing_since > self._worker.retry_seconds:
                    self._end(exc)
            except Exception as exc:  # noqa: BLE001  # whatever it is, it ends the worker and is raised there
                self._end(exc)
            else:
                if failing_since is not None:
                    log.warning("the outage is over after %.0f s", time.monotonic() - failing_since)
                failing_since = None

    def _begin_outage(self, error: Exception) -> float:
        log.warning("outage, waiting until it is over: %s", error)
        return time.monotonic()

    def _end(self, reason: BaseException | None = None) -> None:
        if self._over.done():
            return
        if reason is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(reason)

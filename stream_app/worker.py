"""One worker process: loads the model, opens the sinks, and runs the Faust app until it is told to stop."""

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from reviewpulse.broker import SourceReader, ensure_topics
from reviewpulse.card import find_checkpoint
from reviewpulse.errors import BrokerError
from reviewpulse.schema import connect
from reviewpulse.settings import KafkaSettings, StoreSettings, WorkerSettings
from stream_app.app import ScoringApp
from stream_app.batch import Message
from stream_app.pipeline import OUTAGES, Model, Pipeline, Sinks
from stream_app.store import PredictionStore

log = logging.getLogger(__name__)

THREADS: Final = 3
"""One for the batch, one for the progress beside it, and at the start one that loads the model."""

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
    lasts too long, and SourceChangedError when the topic was made anew.
    """
    ensure_topics(kafka)
    engine = connect(store.store, writable=True)
    source = SourceReader(kafka)
    try:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="pipeline") as executor:
            model = executor.submit(load, worker)  # seconds, in which the group is joined
            run = _Run(kafka, worker, model, PredictionStore(engine), source, executor)
            return asyncio.run(run.until_stopped())
    finally:
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
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._app = ScoringApp(self._kafka, self._worker, resume=self._resume, process=self._process)
        self._pipeline = Pipeline(
            self._model,
            Sinks(self._app.send_record, self._store, self._source.read),
            self._executor,
            self._kafka,
            retry_seconds=self._worker.retry_seconds,
            clock=lambda: datetime.now(UTC),
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        self._model.add_done_callback(lambda model: loop.call_soon_threadsafe(self._model_loaded, model))
        try:
            await self._until_over()
        finally:
            async with self._pipeline.idle:  # the batch in flight is finished first
                await self._app.stop()
        log.info("stopped; scored %d reviews", self._pipeline.scored_reviews)
        return self._pipeline.scored_reviews

    async def _until_over(self) -> None:
        starting = asyncio.ensure_future(self._app.start())
        await asyncio.wait([starting, self._over], return_when=asyncio.FIRST_COMPLETED)
        if self._over.done():
            starting.cancel()
        else:
            await starting
            log.info("reading topic %s at %s", self._kafka.reviews_topic, self._kafka.broker)
            ticking = asyncio.ensure_future(self._tick())
            await self._app.wait(self._over)
            ticking.cancel()
        if not self._over.done():
            raise BrokerError(f"the Kafka client gave up: {self._app.crash_reason}")
        self._over.result()

    def _model_loaded(self, model: Future[Model]) -> None:
        error = model.exception()
        if error is None:
            log.info("loaded checkpoint %s %s", model.result().card.name, model.result().card.version)
        else:
            self._end(error)

    async def _resume(self) -> dict[int, int]:
        try:
            return dict(await self._pipeline.resume())
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
        """Keep the store's lag fresh and notice a topic made anew; an outage is for the next batch to report."""
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            try:
                await self._pipeline.note_progress(self._app.high_watermarks())
            except OUTAGES as exc:
                log.debug("could not note the progress: %s", exc)
            except Exception as exc:  # noqa: BLE001  # whatever it is, it ends the worker and is raised there
                self._end(exc)

    def _end(self, reason: BaseException | None = None) -> None:
        if self._over.done():
            return
        if reason is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(reason)

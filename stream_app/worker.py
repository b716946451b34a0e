"""One worker process: loads the model, opens the sinks, and runs the Faust app until it is told to stop."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from aiokafka.errors import KafkaError
from pydantic import SecretStr

from reviewpulse.broker import SourceReader, ensure_topics, unreachable
from reviewpulse.card import find_checkpoint
from reviewpulse.errors import BrokerError, MembershipError, SourceChangedError
from reviewpulse.schema import connect
from reviewpulse.settings import KafkaSettings, StoreSettings, WorkerSettings
from stream_app.app import PUBLISH_SECONDS, REBALANCE_SECONDS, ScoringApp
from stream_app.batch import Message
from stream_app.health import HealthServer
from stream_app.membership import check_name
from stream_app.outages import Outages
from stream_app.pipeline import Model, Pipeline, Sinks
from stream_app.pulse import Pulse
from stream_app.retention import Pruner
from stream_app.steps import OnStep, unwatched
from stream_app.store import PredictionStore
from stream_app.vitals import Vitals
from stream_app.watchdog import Watchdog

log = logging.getLogger(__name__)

THREADS: Final = 3
"""One for the batch, one for the progress beside it, and at the start one that loads the model."""

STOP_SECONDS: Final = 10.0
"""How long a stop waits for the batch in flight, and then for the Kafka client."""

SETTLE_SECONDS: Final = REBALANCE_SECONDS / 2
"""How long a rebalance waits for the batch in flight."""


def load_model(worker: WorkerSettings) -> Model:
    """Return the checkpoint's classifier; raises CheckpointError when it cannot be had."""
    from reviewpulse.classifier import SentimentClassifier, limit_threads, silence_transformers

    silence_transformers()
    limit_threads(worker.threads)
    model = SentimentClassifier.load(find_checkpoint(worker.checkpoint), worker.device)
    log.info("loaded checkpoint %s %s on %s", model.card.name, model.card.version, model.device)
    return model


def run_worker(
    kafka: KafkaSettings,
    store: StoreSettings,
    worker: WorkerSettings,
    load: Callable[[WorkerSettings], Model],
    *,
    token: SecretStr | None = None,
    outages: Outages | None = None,
    on_step: OnStep = unwatched,
) -> int:
    """Score the stream until SIGTERM or SIGINT, then return how many reviews were scored.

    It tells its health at the address of the settings, to those who show the token. The watchdog ends the process.
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
        run = _Run(
            kafka, worker, model, PredictionStore(engine), source, executor, outages or Outages(), token, on_step
        )
        with Pruner(engine, store.keep_days):
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
        outages: Outages,
        token: SecretStr | None,
        on_step: OnStep,
    ) -> None:
        self._outages = outages
        self._pulse = Pulse(worker.stall_seconds, worker.retry_seconds, lambda: outages.seconds)
        self._health = HealthServer(self._pulse, worker.health_host, worker.health_port, token)
        self._kafka = kafka
        self._worker = worker
        self._model = model
        self._store = store
        self._source = source
        self._executor = executor
        self._on_step = on_step
        self._is_told_to_stop = False

    async def until_stopped(self) -> int:
        """Run the app; return how many reviews were scored, or raise what ended it."""
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = loop.create_future()
        self._app = ScoringApp(
            self._kafka,
            self._worker,
            resume=self._resume,
            process=self._process,
            settle=self._settle,
            on_failure=self._end,
            on_step=self._on_step,
        )
        self._pipeline = Pipeline(
            self._model,
            Sinks(self._app.send_record, self._store, self._source.read),
            self._executor,
            self._kafka,
            retry_seconds=self._worker.retry_seconds,
            publish_seconds=min(PUBLISH_SECONDS, max(self._worker.retry_seconds, 1)),
            clock=lambda: datetime.now(UTC),
            text_limit=self._worker.text_limit,
            outages=self._outages,
            on_step=self._on_step,
        )
        self._watchdog = Watchdog(
            self._pulse,
            self._worker.stall_seconds,
            lambda: [loop, *self._app.loops()],
            each_look=self._outages.look,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop)
        self._model.add_done_callback(lambda model: self._model_loaded(loop, model))
        self._watchdog.start()
        changed: SourceChangedError | None = None
        try:
            if self._worker.health_port:
                self._health.start()
            await self._until_over()
        except SourceChangedError as exc:
            changed = exc
        finally:
            self._watchdog.stop()
            await self._stop()
            self._health.stop()
        if changed is not None and not self._is_told_to_stop:  # else nobody wants a worker that starts over
            raise changed
        scored, rejected = self._pipeline.scored_reviews, self._pipeline.rejected_records
        log.info("stopped; scored %d reviews, rejected %d", scored, rejected)
        return scored

    async def _until_over(self) -> None:
        starting = asyncio.ensure_future(self._app.start())
        vitals = Vitals(
            self._app, self._pipeline, self._pulse, self._outages, self._ends_of, self._worker.retry_seconds
        )
        living = asyncio.ensure_future(vitals.run())  # from the start: joining the group may wait for ever
        living.add_done_callback(self._life_ended)
        try:
            await asyncio.wait([starting, self._over], return_when=asyncio.FIRST_COMPLETED)
            if not self._over.done():
                await self._started(starting)
                log.info("reading topic %s at %s", self._kafka.reviews_topic, self._kafka.broker)
                await self._app.wait(asyncio.shield(self._over))  # the app cancels what it is given when it crashes
        finally:
            living.cancel()
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
        if isinstance(self._over.done() and self._over.exception(), MembershipError):
            return  # Faust would wait for the rebalance
        for what, ending in (("the batch in flight", self._pipeline.idle.acquire()), ("Kafka", self._app.stop())):
            _, pending = await asyncio.wait([asyncio.ensure_future(ending)], timeout=STOP_SECONDS)
            if pending:
                log.warning("stopping without %s, which did not end within %g s", what, STOP_SECONDS)

    def _model_loaded(self, loop: asyncio.AbstractEventLoop, model: Future[Model]) -> None:
        """End the worker if that failed; called in the thread that loaded it, maybe after the end."""
        error = model.exception()
        if error is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._end, error)

    async def _resume(self) -> Mapping[int, int]:
        """Return where to read on; when that fails for good, end the worker and never return.

        An error that reached Faust would be shown with its traceback, like a defect.
        """
        try:
            return await self._pipeline.resume()
        except Exception as exc:  # noqa: BLE001  # whatever it is, it ends the worker and is raised from until_stopped
            self._end(exc)
        never: asyncio.Future[Mapping[int, int]] = asyncio.get_running_loop().create_future()
        return await never

    async def _process(self, messages: Sequence[Message]) -> None:
        """Process a batch; when that fails for good, end the worker and never return, so that nothing is acked."""
        try:
            await self._pipeline.process(messages, self._app.high_watermarks())
        except Exception as exc:  # noqa: BLE001  # whatever it is, it ends the worker and is raised from until_stopped
            self._end(exc)
        else:
            self._pulse.progressed()
        if self._over.done():
            await asyncio.Event().wait()

    async def _settle(self, member_id: str) -> None:
        """Wait for the batch in flight, because its partitions are taken away, and see who took them."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pipeline.settle(), SETTLE_SECONDS)
        if self._worker.instance is None:
            return
        try:
            members = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._source.members, self._worker.group
            )
            check_name(self._worker.instance, member_id, members)
        except BrokerError:
            log.debug("nobody tells who is in the group", exc_info=True)  # the embedded broker does not
        except MembershipError as exc:
            self._end(exc)
            await asyncio.Event().wait()  # to return would be to join again, and to push the other one out

    async def _ends_of(self, partitions: Sequence[int]) -> Mapping[int, int]:
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._source.ends, partitions)

    def _life_ended(self, living: asyncio.Future[None]) -> None:
        if not living.cancelled():
            self._end(living.exception())

    def _told_to_stop(self) -> None:
        self._is_told_to_stop = True
        self._end()

    def _end(self, reason: BaseException | None = None) -> None:
        if self._over.done():
            return
        if reason is None:
            self._over.set_result(None)
        else:
            self._over.set_exception(reason)

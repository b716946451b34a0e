"""The Faust app: an agent that batches the reviews topic, and a consumer that reads on where the store ends."""

import asyncio
import ssl
import tempfile
import weakref
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, StreamT
from faust.types.tuples import ConsumerMessage

from reviewpulse.entrance import ssl_context
from reviewpulse.errors import BrokerError
from reviewpulse.settings import KafkaSettings, WorkerSettings
from stream_app.batch import Message, portions
from stream_app.membership import client_id
from stream_app.steps import OnStep, Step, unwatched

PUBLISH_SECONDS: Final = 20.0
"""How long Kafka may take to confirm one attempt at publishing a batch."""

BATCH_BYTES: Final = 8_000_000
"""Of the records that are scored, published and stored at once: Kafka can confirm so much within PUBLISH_SECONDS."""

SEEK_SECONDS: Final = 80.0
"""How long it may take to find out where to read on: after 90 s Faust would never read again, and not say so."""

MOST_BYTES: Final = 100_000_000
"""Of one record: the broker's own limit is the one that counts."""

REBALANCE_SECONDS: Final = 60.0
"""How long the group waits for a member that finishes its batch before it gives up its partitions."""

Resume = Callable[[], Awaitable[Mapping[int, int]]]
Settle = Callable[[str], Awaitable[None]]
Process = Callable[[Sequence[Message]], Awaitable[None]]


class StoreConsumer(driver.Consumer):
    """A consumer whose positions come from the store, not from the group's committed offsets.

    Faust asks for the positions at the start and after every rebalance, while the flow is stopped.
    """

    taken: dict[int, int]
    """By partition, the offset after the last record that was handed to the agent since the positions were set."""
    sought: Mapping[int, int]
    """The positions that were set, by partition; 0 where none is named."""
    follows: weakref.WeakKeyDictionary[ConsumerMessage, int]
    """The records read since the positions were set, each with the offset that reading was at before: all others are
    read again. (The group's generation does not tell them apart: it stays when a member with a lasting name comes
    back.)"""
    member_id = ""
    """What the group calls this process since partitions were last given to it."""
    is_revoked = False
    """Whether partitions were taken away and none have been given since."""
    is_settled = False
    """Whether the group has given partitions, or said that there is none, and reading goes on there."""

    def on_init(self) -> None:
        """Begin with nothing taken."""
        super().on_init()
        self._begin({})

    def _begin(self, positions: Mapping[int, int]) -> None:
        self.sought, self.taken, self.follows = positions, {}, weakref.WeakKeyDictionary()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Give up partitions once the batch in flight is in its sinks; nothing of a later one is begun."""
        self.is_revoked, self.is_settled = True, False
        await super().on_partitions_revoked(revoked)
        if revoked:
            await cast(ScoringApp, self.app).settle(self.member_id)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take partitions; those that are read on from are set by perform_seek."""
        self.is_revoked = False
        self.member_id = self._thread._ensure_consumer()._coordinator.member_id
        await super().on_partitions_assigned(assigned, generation_id)
        self.is_settled = self.is_settled or not assigned

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:  # noqa: ANN401
        message = super()._to_message(tp, record)
        self.follows[message] = self.taken.get(tp.partition, self.sought.get(tp.partition, 0))
        self.taken[tp.partition] = record.offset + 1
        return message

    async def perform_seek(self) -> None:
        """Put every assigned partition to its next offset in the store, or to its start."""
        try:
            async with asyncio.timeout(SEEK_SECONDS):
                await self._seek_to_store()
        except TimeoutError as exc:
            error = BrokerError(f"it took more than {SEEK_SECONDS:g} s to find out where to read on; start again")
            cast(ScoringApp, self.app).on_failure(error)
            raise error from exc

    async def _seek_to_store(self) -> None:
        await super().perform_seek()
        positions = await cast(ScoringApp, self.app).resume()
        self._begin(positions)
        for tp in self.assignment():
            offset = positions.get(tp.partition, 0)
            await self.seek(tp, offset)
            self._committed_offset[tp] = offset or None
        self.is_settled = not self.is_revoked

    def fetched(self) -> dict[int, int]:
        """Return, by partition, the offset that the client fetches next.

        aiokafka's own answer waits in the consumer's loop, which may be what stands still: so its record is read.
        """
        client = self._thread._consumer
        subscription = client and client._subscription.subscription
        states = subscription.assignment._tp_state if subscription and subscription.assignment else {}
        return {tp.partition: state._position for tp, state in states.items() if state._position is not None}


class StoreTransport(driver.Transport):
    """Faust's Kafka transport with StoreConsumer."""

    Consumer = StoreConsumer


class NoTables(TableManager):
    """Faust's tables, of which we have none: it would wait a second at each start for some to be declared."""

    async def on_start(self) -> None:
        """Let the app read on at once."""
        await self._update_channels()
        await self.recovery.start()


class ScoringApp(faust.App):
    """A Faust app with one agent, which hands micro-batches of the reviews topic to `process` and then acks them."""

    def __init__(
        self,
        kafka: KafkaSettings,
        worker: WorkerSettings,
        *,
        resume: Resume,
        process: Process,
        settle: Settle,
        on_failure: Callable[[Exception], None],
        on_step: OnStep = unwatched,
    ) -> None:
        super().__init__(worker.group, **_options(kafka, worker))
        self.resume = resume
        self.settle = settle
        self.transport = StoreTransport(self.conf.broker_consumer, self, loop=self.loop)
        self._process = process
        self.on_failure = on_failure
        self._on_step = on_step
        self._worker = worker
        topic = self.topic(kafka.reviews_topic, key_serializer="raw", value_serializer="raw", value_type=bytes)
        self.agent(topic, name="score")(self._score)

    async def send_record(
        self, topic: str, key: bytes, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> Awaitable[object]:
        """Hand one record to the producer; the awaitable ends when Kafka has it. Raises aiokafka's KafkaError."""
        try:
            delivery: Awaitable[object] = await self.producer.send(topic, key, value, None, None, headers)
        except ProducerSendError as exc:
            raise exc.__cause__ or KafkaError(str(exc)) from exc
        return delivery

    def high_watermarks(self) -> dict[int, int]:
        """Return, for each assigned partition whose end is known, the offset that its next record will get."""
        if not self.is_settled:
            return {}
        ends = {tp.partition: self.consumer.highwater(tp) for tp in self.consumer.assignment()}
        return {partition: end for partition, end in ends.items() if end is not None}

    @property
    def is_settled(self) -> bool:
        """Whether the group has given partitions, or said that there is none, and reading goes on there."""
        return self._consumer is not None and cast(StoreConsumer, self._consumer).is_settled

    def partitions(self) -> list[int]:
        """Return the partitions that this worker reads."""
        return sorted(tp.partition for tp in self.consumer.assignment()) if self.is_settled else []

    def read_so_far(self) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """Return by partition the offsets after the last record fetched, and after the last handed to the agent."""
        consumer = cast(StoreConsumer, self.consumer)
        return consumer.fetched(), consumer.taken

    def loops(self) -> Iterable[asyncio.AbstractEventLoop]:
        """Return the event loops that Faust runs besides ours."""
        thread = cast(StoreConsumer, self._consumer)._thread if self._consumer is not None else None
        return [thread.thread_loop] if thread is not None else []

    def _is_ours(self, event: EventT[bytes]) -> bool:
        """Return whether a record was read since the last rebalance; all others are read again, here or elsewhere."""
        consumer = cast(StoreConsumer, self.consumer)
        return not consumer.is_revoked and event.message in consumer.follows

    async def _score(self, stream: StreamT[bytes]) -> None:
        try:
            await self._score_batches(cast(Stream[bytes], stream))
        except Exception as exc:  # noqa: BLE001  # Faust would start the agent anew without the messages it had taken
            self.on_failure(exc)
            await asyncio.Event().wait()

    async def _score_batches(self, stream: Stream[bytes]) -> None:
        # noack_take: take() acks in a `finally`, so a batch whose handler raised would be lost.
        async for batch in stream.noack_take(self._worker.batch_reviews, self._worker.batch_seconds):
            events = cast(Sequence[EventT[bytes]], batch)
            for part in portions([len(event.value or b"") for event in events], BATCH_BYTES):
                await self._score_part(stream, [event for event in events[part] if self._is_ours(event)])

    async def _score_part(self, stream: Stream[bytes], events: Sequence[EventT[bytes]]) -> None:
        if not events:
            return
        await self._process([self._message(event) for event in events])
        for event in events:
            await stream.ack(event)
        self._on_step(Step.acknowledged)

    def _message(self, event: EventT[bytes]) -> Message:
        message, consumer = cast(ConsumerMessage, event.message), cast(StoreConsumer, self.consumer)
        return Message(message.partition, message.offset, message.value, consumer.follows[message])


def _options(kafka: KafkaSettings, worker: WorkerSettings) -> dict[str, Any]:
    """Return Faust's configuration: no web server, no tables, no topics of its own."""
    return {
        "broker": [f"kafka://{address}" for address in kafka.addresses],
        "broker_credentials": _credentials(kafka),
        "broker_session_timeout": worker.session_seconds,
        "broker_heartbeat_interval": worker.session_seconds / 6,
        "broker_rebalance_timeout": REBALANCE_SECONDS,
        "broker_client_id": client_id(),
        "consumer_group_instance_id": worker.instance,
        "consumer_auto_offset_reset": "earliest",
        "producer_acks": -1,
        "producer_request_timeout": PUBLISH_SECONDS,
        "producer_max_request_size": MOST_BYTES,
        # Else Faust waits, at a stop, for messages that the agent has no wish to begin; the worker itself
        # waits for the batch in flight.
        "stream_wait_empty": False,
        # Records that wait beside the batch in flight: they may be large, and Faust would keep 4,096.
        "stream_buffer_maxsize": worker.batch_reviews,
        # Else Faust commits inside its reading loop after so many records, and a commit that outlasts a rebalance would
        # put the loop's idea of where it reads back to what it was.
        "broker_commit_every": 2**31,
        "TableManager": NoTables,
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "web_enabled": False,
        "autodiscover": False,
        "datadir": tempfile.mkdtemp(prefix="reviewpulse-"),
    }


def _credentials(kafka: KafkaSettings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    context: ssl.SSLContext | None = ssl_context(kafka) if kafka.security_protocol.endswith("SSL") else None
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=kafka.sasl_mechanism,
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value() if kafka.sasl_password else None,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context else None

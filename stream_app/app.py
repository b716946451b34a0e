"""The Faust app: an agent that batches the reviews topic, and a consumer that reads on where the store ends."""

import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

import faust
from aiokafka.errors import KafkaError
from faust.exceptions import ProducerSendError
from faust.streams import Stream
from faust.transport.drivers import aiokafka as driver
from faust.types import EventT, StreamT

from reviewpulse.broker import ssl_context
from reviewpulse.settings import KafkaSettings, WorkerSettings
from stream_app.batch import Message

PUBLISH_SECONDS: Final = 20.0
"""How long Kafka may take to confirm one attempt at publishing a batch."""

MOST_BYTES: Final = 100_000_000
"""Of one record: the broker's own limit is the one that counts."""

Resume = Callable[[], Awaitable[Mapping[int, int]]]
Process = Callable[[Sequence[Message]], Awaitable[None]]


class StoreConsumer(driver.Consumer):
    """A consumer whose positions come from the store, not from the group's committed offsets.

    Faust asks for the positions at the start and after every rebalance, while the flow is stopped.
    """

    async def perform_seek(self) -> None:
        """Put every assigned partition to its next offset in the store, or to its start."""
        await super().perform_seek()
        app = cast(ScoringApp, self.app)
        positions = await app.resume()
        for tp in self.assignment():
            offset = positions.get(tp.partition, 0)
            await self.seek(tp, offset)
            self._committed_offset[tp] = offset or None


class StoreTransport(driver.Transport):
    """Faust's Kafka transport with StoreConsumer."""

    Consumer = StoreConsumer


class ScoringApp(faust.App):
    """A Faust app with one agent, which hands micro-batches of the reviews topic to `process` and then acks them."""

    def __init__(self, kafka: KafkaSettings, worker: WorkerSettings, *, resume: Resume, process: Process) -> None:
        super().__init__(worker.group, **_options(kafka, worker))
        self.resume = resume
        self.transport = StoreTransport(self.conf.broker_consumer, self, loop=self.loop)
        self._process = process
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
        if not self.started:
            return {}
        ends = {tp.partition: self.consumer.highwater(tp) for tp in self.consumer.assignment()}
        return {partition: end for partition, end in ends.items() if end is not None}

    async def _score(self, stream: StreamT[bytes]) -> None:
        # noack_take: take() acks in a `finally`, so a batch whose handler raised would be lost.
        batches = cast(Stream[bytes], stream).noack_take(self._worker.batch_reviews, self._worker.batch_seconds)
        async for batch in batches:
            events = cast(Sequence[EventT[bytes]], batch)  # faust types them as values
            await self._process([_message(event) for event in events])
            for event in events:
                await stream.ack(event)


def _message(event: EventT[bytes]) -> Message:
    return Message(event.message.partition, event.message.offset, event.message.value)


def _options(kafka: KafkaSettings, worker: WorkerSettings) -> dict[str, Any]:
    """Return Faust's configuration: no web server, no tables, no topics of its own."""
    return {
        "broker": [f"kafka://{address}" for address in kafka.addresses],
        "broker_credentials": _credentials(kafka),
        "broker_session_timeout": worker.session_seconds,
        "broker_heartbeat_interval": worker.session_seconds / 6,
        "consumer_auto_offset_reset": "earliest",
        "producer_acks": -1,
        "producer_request_timeout": PUBLISH_SECONDS,
        "producer_max_request_size": MOST_BYTES,
        # Else Faust waits, at a stop, for messages that the agent has no wish to begin; the worker itself
        # waits for the batch in flight.
        "stream_wait_empty": False,
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

"""The topics that the worker writes: predictions and rejected records, each awaited until Kafka has it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError

from reviewpulse.errors import BrokerError
from reviewpulse.records import Origin, Rejected
from reviewpulse.settings import KafkaSettings
from stream_app.batch import Outcome

LONGEST_REASON: Final = 500
"""Characters of a reason in a header."""

Headers = list[tuple[str, bytes]]


class Sender(Protocol):
    """Hands one record to a producer; the awaitable it returns ends when Kafka has the record."""

    async def __call__(self, topic: str, key: bytes, value: bytes | None, headers: Headers) -> Awaitable[object]:
        """Send one record."""


async def publish(outcome: Outcome, send: Sender, kafka: KafkaSettings, on_sent: Callable[[], None]) -> None:
    """Publish a batch and return once Kafka has every record of it; raises what the producer raises.

    on_sent is called when the producer has the predictions and Kafka need not have them yet. Raises
    BrokerError when this machine's clock is so far ahead that Kafka refuses its records.
    """
    deliveries = [
        await send(
            kafka.predictions_topic, prediction.review_id.encode(), prediction.encode(), prediction_headers(origin)
        )
        for origin, _, prediction in outcome.scored
    ]
    on_sent()
    rejections = [_publish_rejection(origin, record, send, kafka) for origin, record in outcome.rejected]
    try:
        await asyncio.gather(*deliveries, *rejections)
    except InvalidTimestampError as exc:
        raise BrokerError("Kafka refuses records of this machine's time: its clock is ahead; set it right") from exc


async def _publish_rejection(origin: Origin, record: Rejected, send: Sender, kafka: KafkaSettings) -> None:
    """Publish one rejected record; one that its headers make too large for Kafka goes without its bytes."""
    key, headers = origin.event_id.encode(), rejection_headers(origin, record)
    try:
        await (await send(kafka.rejected_topic, key, record.raw, headers))
    except MessageSizeTooLargeError:
        raw = record.raw or b""
        headers += [
            ("value_bytes", str(len(raw)).encode()),
            ("value_sha256", hashlib.sha256(raw).hexdigest().encode()),
        ]
        await (await send(kafka.rejected_topic, key, None, headers))


def prediction_headers(origin: Origin) -> Headers:
    """Return the headers of a prediction: the event id, equal for every delivery of the same review."""
    return [("event_id", origin.event_id.encode())]


def rejection_headers(origin: Origin, record: Rejected) -> Headers:
    """Return the headers of a rejected record: its event id, why, and where it came from."""
    return [
        ("event_id", origin.event_id.encode()),
        ("reason", record.reason[:LONGEST_REASON].encode(errors="replace")),
        ("source_topic", origin.source.topic.encode()),
        ("source_topic_id", origin.source.topic_id.encode()),
        ("source_partition", str(origin.partition).encode()),
        ("source_offset", str(origin.offset).encode()),
    ]

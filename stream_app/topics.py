"""The topics that the worker writes: predictions and rejected records, each awaited until Kafka has it."""

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from reviewpulse.records import Origin, Rejected
from reviewpulse.settings import KafkaSettings
from stream_app.batch import Outcome

Headers = list[tuple[str, bytes]]


class Sender(Protocol):
    """Hands one record to a producer; the awaitable it returns ends when Kafka has the record."""

    async def __call__(self, topic: str, key: bytes, value: bytes | None, headers: Headers) -> Awaitable[object]:
        """Send one record."""


async def publish(outcome: Outcome, send: Sender, kafka: KafkaSettings) -> None:
    """Publish a batch and return once Kafka has every record of it; raises what the producer raises."""
    deliveries = [
        await send(
            kafka.predictions_topic, prediction.review_id.encode(), prediction.encode(), prediction_headers(origin)
        )
        for origin, _, prediction in outcome.scored
    ]
    deliveries += [
        await send(kafka.rejected_topic, origin.event_id.encode(), record.raw, rejection_headers(origin, record))
        for origin, record in outcome.rejected
    ]
    await asyncio.gather(*deliveries)


def prediction_headers(origin: Origin) -> Headers:
    """Return the headers of a prediction: the event id, equal for every delivery of the same review."""
    return [("event_id", origin.event_id.encode())]


def rejection_headers(origin: Origin, record: Rejected) -> Headers:
    """Return the headers of a rejected record: its event id, why, and where it came from."""
    return [
        ("event_id", origin.event_id.encode()),
        ("reason", record.reason.encode(errors="replace")),
        ("source_topic", origin.source.topic.encode()),
        ("source_topic_id", origin.source.topic_id.encode()),
        ("source_partition", str(origin.partition).encode()),
        ("source_offset", str(origin.offset).encode()),
    ]

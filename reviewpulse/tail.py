"""Follow a topic and print its records: readable on a terminal, one JSON object a line elsewhere."""

import itertools
import re
import sys
import textwrap
import time
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import ConsumerRecord
from kafka.errors import KafkaError
from rich.console import Console
from rich.text import Text

from reviewpulse.broker import answers, check_entrances, client_options, unreachable
from reviewpulse.errors import BrokerError
from reviewpulse.labels import Label
from reviewpulse.records import NOT_JSON, Rejected, decode_review, decode_scored
from reviewpulse.settings import KafkaSettings
from reviewpulse.text import clean, model_text, visible

STYLES: Final[dict[Label, str]] = {
    "very negative": "bold red",
    "negative": "red",
    "neutral": "white",
    "positive": "blue",
    "very positive": "bold blue",
}

IDLE_MILLISECONDS: Final = 1_000
"""Silence after which `follow` looks whether Kafka is still there."""

_COMMANDS: Final = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Delete, the second set of control characters (a line end among them), and changes of direction."""

Followed = Literal["predictions", "reviews", "rejected"]


class TailRecord(NamedTuple):
    """One record as read: text with whatever is not UTF-8 shown as \\x escapes."""

    partition: int
    offset: int
    value: bytes | None
    headers: dict[str, str]

    def as_json(self, followed: Followed) -> bytes:
        """Return the record as one line of JSON: its value where that is JSON, else the raw text and the place.

        What a terminal would obey is escaped, as JSON allows.
        """
        if followed != "rejected":
            try:
                return _escaped(msgspec.json.format((self.value or b"").decode(), indent=0))
            except NOT_JSON:
                pass
        place = {"partition": self.partition, "offset": self.offset}
        return _escaped(msgspec.json.encode({**self.headers, **place, "raw": self.text}).decode())

    @property
    def text(self) -> str | None:
        """The value as text, or None for a record without one."""
        return None if self.value is None else self.value.decode(errors="backslashreplace")


def follow(kafka: KafkaSettings, followed: Followed, *, from_beginning: bool) -> Iterator[TailRecord]:
    """Yield the topic's records for as long as it is asked: new ones, or all of them first.

    Raises BrokerError when no Kafka answers or the topic does not exist.
    """
    topic = dict(zip(("reviews", "predictions", "rejected"), kafka.topics, strict=True))[followed]
    check_entrances(kafka)
    try:
        consumer = KafkaConsumer(
            **client_options(kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # where a topic was made anew, go on with its first record
            consumer_timeout_ms=IDLE_MILLISECONDS,
        )
    except (KafkaError, ValueError, OSError) as exc:
        raise unreachable(kafka, exc) from exc
    try:
        _place(consumer, topic, kafka, from_beginning=from_beginning)
        seen_at = time.monotonic()
        while time.monotonic() - seen_at < kafka.connect_seconds:
            for record in consumer:
                yield _tail_record(record)
            if any(answers(address) for address in kafka.addresses):
                seen_at = time.monotonic()
        raise BrokerError(f"Kafka at {kafka.broker} is gone; run tail again when it is back")
    except KafkaError as exc:
        raise BrokerError(f"Kafka at {kafka.broker} stopped answering: {exc}") from exc
    finally:
        consumer.close()


def _place(consumer: KafkaConsumer, topic: str, kafka: KafkaSettings, *, from_beginning: bool) -> None:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        raise BrokerError(
            f"there is no topic {topic} at {kafka.broker}; 'reviewpulse work' and 'reviewpulse publish' make it"
        )
    places = [TopicPartition(topic, partition) for partition in sorted(partitions)]
    consumer.assign(places)
    if from_beginning:
        consumer.seek_to_beginning(*places)
        return
    consumer.seek_to_end(*places)
    consumer.poll(timeout_ms=500)  # the embedded broker names too early an end; a fetch tells the true one
    for place in places:
        end = consumer.highwater(place)
        if end is not None:
            consumer.seek(place, end)


def _tail_record(record: ConsumerRecord) -> TailRecord:
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    return TailRecord(record.partition, record.offset, record.value, headers)


def print_records(records: Iterable[TailRecord], followed: Followed, limit: int | None, console: Console) -> None:
    """Print records as they come: aligned on a terminal, else one JSON object a line."""
    for record in itertools.islice(records, limit):
        if console.is_terminal:
            console.print(_pretty(record, followed), soft_wrap=True)
        else:
            sys.stdout.buffer.write(record.as_json(followed) + b"\n")
            sys.stdout.buffer.flush()


def _escaped(json: str) -> bytes:
    """Return JSON, as UTF-8, in which no character is a command to a terminal; in JSON they are in strings alone."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", json).encode()


def _pretty(record: TailRecord, followed: Followed) -> Text:
    """Return a record for a human; review text is only ever text, never markup."""
    place = Text(f"{record.partition}/{record.offset} ", style="dim")
    if followed == "rejected":
        return (
            place + Text(f"{visible(record.headers.get('reason', '?'))}: ", style="yellow") + Text(_short(record.text))
        )
    if followed == "reviews":
        return place + _pretty_review(record)
    try:
        prediction = decode_scored(record.value or b"")
    except NOT_JSON:
        return place + Text(_short(record.text))
    verdict = Text(f"{prediction.label:<13} {prediction.confidence:4.0%} ", style=STYLES[prediction.label])
    rated = "" if prediction.rating is None else f" rated {prediction.rating:g}"
    return place + verdict + Text(f"review {_short(prediction.review_id)}{rated}")


def _pretty_review(record: TailRecord) -> Text:
    review = decode_review(record.value)
    if isinstance(review, Rejected):
        return Text(f"{visible(review.reason)}: {_short(record.text)}", style="yellow")
    stars = "-" if review.rating is None else f"{review.rating:g}"
    return Text(f"{stars:>3} stars ", style="bold") + Text(_short(model_text(review.title or "", review.text)))


def _short(text: str | None) -> str:
    """Return at most a line's worth of text, control characters taken out."""
    return textwrap.shorten(visible(clean(text or "(no value)")), 120, placeholder=" ...")

"""One micro-batch on its way: what came in, and what became of it. Pure values, no I/O."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from reviewpulse.records import Origin, Rejected, Review, ScoredReview, Source, TextLimit, decode_review


class Message(NamedTuple):
    """A record of the reviews topic as it was read."""

    partition: int
    offset: int
    value: bytes | None


class Decoded(NamedTuple):
    """A batch sorted into reviews and malformed records."""

    reviews: list[tuple[Origin, Review]]
    rejected: list[tuple[Origin, Rejected]]


class Outcome(NamedTuple):
    """What the sinks are given: every record of a batch is in exactly one of the two."""

    scored: list[tuple[Origin, Review, ScoredReview]]
    rejected: list[tuple[Origin, Rejected]]

    @property
    def next_offsets(self) -> dict[int, int]:
        """Return, for each partition of the batch, the offset after its last record."""
        ends: dict[int, int] = {}
        for origin in [item[0] for item in self.scored] + [item[0] for item in self.rejected]:
            ends[origin.partition] = max(ends.get(origin.partition, 0), origin.offset + 1)
        return ends


def unseen(messages: Iterable[Message], next_offsets: Mapping[int, int]) -> list[Message]:
    """Return the messages that are not stored yet, each once: those at or after their partition's next offset.

    >>> unseen([Message(0, 4, b"old"), Message(0, 5, b"new"), Message(0, 5, b"new")], {0: 5})
    [Message(partition=0, offset=5, value=b'new')]
    """
    places = {(message.partition, message.offset): message for message in messages}
    return [message for place, message in places.items() if place[1] >= next_offsets.get(place[0], 0)]


def decode_batch(source: Source, messages: Sequence[Message], limit: TextLimit) -> Decoded:
    """Return the batch's reviews and rejects, each with its origin; no message is left out."""
    decoded = Decoded([], [])
    for message in messages:
        origin = Origin(source, message.partition, message.offset)
        record = decode_review(message.value, limit)
        if isinstance(record, Review):
            decoded.reviews.append((origin, record))
        else:
            decoded.rejected.append((origin, record))
    return decoded

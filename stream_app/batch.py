"""One micro-batch on its way: what came in, and what became of it. Pure values, no I/O."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from reviewpulse.records import Origin, Rejected, Review, ScoredReview, Source, TextLimit, decode_review


class Message(NamedTuple):
    """A record of the reviews topic as it was read."""

    partition: int
    offset: int
    value: bytes | None
    follows: int = 0
    """The offset that reading was at before: the one after the record before it, or the one that was sought."""


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
    [Message(partition=0, offset=5, value=b'new', follows=0)]
    """
    places = {(message.partition, message.offset): message for message in messages}
    return [message for place, message in places.items() if place[1] >= next_offsets.get(place[0], 0)]


def first_hole(messages: Iterable[Message], next_offsets: Mapping[int, int]) -> Message | None:
    """Return the first message that does not join on to what was read before it, None when all do.

    What lies between follows and offset is no record (a transaction's marker, or deleted by Kafka). What lies between
    the last record that was stored, or is in the batch, and follows was read and never handed over.

    >>> first_hole([Message(0, 5, b"", follows=4), Message(0, 8, b"", follows=6)], {0: 4}) is None
    True
    >>> first_hole([Message(0, 5, b"", follows=4), Message(0, 8, b"", follows=7)], {0: 4}).offset
    8
    """
    reached = dict(next_offsets)
    for message in messages:
        if message.follows > reached.get(message.partition, 0):
            return message
        reached[message.partition] = max(message.offset + 1, reached.get(message.partition, 0))
    return None


def portions(sizes: Sequence[int], most: int) -> list[slice]:
    """Return slices that cover a sequence of such sizes in order, each of most at most in sum, or of one item.

    >>> portions([3, 4, 9, 1, 1], 7)
    [slice(0, 2, None), slice(2, 3, None), slice(3, 5, None)]
    """
    starts, total = list[int](), 0
    for number, size in enumerate(sizes):
        if not starts or total + size > most:
            starts.append(number)
            total = 0
        total += size
    return [slice(start, end) for start, end in itertools.pairwise([*starts, len(sizes)])]


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

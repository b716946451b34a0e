"""The life of a micro-batch in numbered steps: a worker may die after any of them and nothing is lost or doubled."""

from collections.abc import Callable
from enum import IntEnum


class Step(IntEnum):
    """What has just happened to the batch."""

    fetched = 1
    """Taken from Kafka, and found to hold records that the store lacks."""
    identified = 2
    """Kafka has said which topic this is: from here on every record has its event id."""
    scored = 3
    """Decoded and scored; nothing of it is outside this process."""
    publishing = 4
    """Handed to the Kafka client, which may have sent some of it."""
    published = 5
    """Confirmed by Kafka: readers of the predictions see it."""
    storing = 6
    """Written to the store in a transaction that is not committed."""
    stored = 7
    """Committed together with the offsets: from here on it is never scored again."""
    acknowledged = 8
    """Acknowledged to Faust, which commits the group's offsets some time later."""


OnStep = Callable[[Step], None]


def unwatched(_step: Step) -> None:
    """Take no notice of a step."""

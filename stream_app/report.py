"""What `verify` found: each kind of fault, the places of the first ones, and what was counted."""

from collections import Counter
from enum import StrEnum

import msgspec


class Fault(StrEnum):
    """What can be wrong."""

    LOST = "lost"
    """A record of which the store knows nothing, though it says that it has read past it."""
    DOUBLED = "doubled"
    """More than one row for a record."""
    DIFFERING = "differing"
    """A row or a prediction that says something else than the record."""
    UNPUBLISHED = "unpublished"
    """A row without its record in the predictions or the rejected topic."""
    FOREIGN = "foreign"
    """A row, a prediction or a rejected record for which there is no record."""
    ROLLUP = "roll-up"
    """Counts that do not add up."""


class Difference(msgspec.Struct, frozen=True):
    """One fault and where it is: topic, partition and offset, None where it is nowhere in particular."""

    fault: Fault
    topic: str
    partition: int | None
    offset: int | None
    what: str


class Report(msgspec.Struct, frozen=True):
    """What was checked, and what is wrong: `faults` counts all of it, `differences` names the first ones."""

    topic: str
    topic_id: str
    records: int
    rows: int
    scored: int
    rejected: int
    rejected_readable: int
    """Rejected though the decoder takes them: the model failed on them, or they were too long."""
    cut: int
    """Stored with a text or title that was cut."""
    not_yet_processed: int
    pruned: int
    no_longer_in_topic: int
    predictions: int
    rejected_records: int
    repeated: int
    no_longer_published: int
    in_flight: int
    of_other_sources: int
    rows_of_other_sources: int
    rolled_up: int
    """Reviews that the roll-up counts, of all sources and those whose row was pruned as well."""
    faults: dict[Fault, int]
    differences: list[Difference]

    @property
    def is_well(self) -> bool:
        """Whether nothing was lost, stored twice or changed."""
        return not any(self.faults.values())


class Findings:
    """Counts the differences of each kind and keeps the first few."""

    def __init__(self, most_named: int) -> None:
        self._most_named = most_named
        self.counts: Counter[Fault] = Counter()
        self.named: list[Difference] = []

    def add(self, difference: Difference) -> None:
        """Count a difference, and keep it if there is room."""
        self.counts[difference.fault] += 1
        if len(self.named) < self._most_named:
            self.named.append(difference)

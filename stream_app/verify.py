"""`reviewpulse verify`: compares the reviews topic, the store and the topics that the worker writes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from kafka.consumer.fetcher import ConsumerRecord

from reviewpulse.broker import SourceReader
from reviewpulse.errors import SourceChangedError
from reviewpulse.progress import Progress, Status
from reviewpulse.records import Source
from reviewpulse.schema import connect
from reviewpulse.settings import KafkaSettings, StoreSettings
from stream_app.audit import Limits, PartitionAudit
from stream_app.evidence import align
from stream_app.horizon import FirstOffset, Horizon
from stream_app.published import PublishedTable, Sorting, Sources
from stream_app.report import Difference, Fault, Findings, Report
from stream_app.stored import StoredRows
from stream_app.topic_reader import TopicReader

T = TypeVar("T")

_SHOW_EVERY: Final = 2_000


class Counted(Generic[T]):
    """Shows, while it is iterated over, how many of all records were read."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def records(self, records: Iterable[T], what: str) -> Iterator[T]:
        """Yield the records and show the progress with what they are."""
        for record in records:
            self._done += 1
            if self._done % _SHOW_EVERY == 0:
                self._progress.show(Status(min(self._done, self._total), self._total, f"{what}, {self._done:,} read"))
            yield record


class Readers(NamedTuple):
    reviews: TopicReader
    predictions: TopicReader
    rejected: TopicReader


class Asked(NamedTuple):
    """What the comparison is to hold to, and to tell."""

    is_complete: bool
    """Everything that is in the topic has to be in the store."""
    longest_text: int
    """Characters after which the workers cut a text or title."""
    most_named: int
    """Differences that are told one by one."""


def verify(kafka: KafkaSettings, store: StoreSettings, asked: Asked, progress: Progress) -> Report:
    """Compare topics and store and return what was found; workers may go on meanwhile.

    Memory does not grow with the number of
    records; a temporary file does. Raises BrokerError or StoreError when a side cannot be read, and
    SourceChangedError when the reviews topic was made anew meanwhile.
    """
    which = SourceReader(kafka)
    engine = connect(store.store, writable=False)
    try:
        source = which.read()
        stored = StoredRows(engine, source)
        with (
            TopicReader(kafka, kafka.reviews_topic) as reviews,
            TopicReader(kafka, kafka.predictions_topic) as predictions,
            TopicReader(kafka, kafka.rejected_topic) as rejected,
            PublishedTable() as published,
        ):
            run = Verification(source, stored, Readers(reviews, predictions, rejected), published, progress)
            report = run.report(asked)
        if which.read() != source:
            raise SourceChangedError(f"topic {source.topic} was made anew meanwhile; run verify again")
        return report
    finally:
        which.close()
        engine.dispose()


class Verification:
    """One comparison: first what the store has, then what was published, then record by record."""

    def __init__(
        self, source: Source, stored: StoredRows, readers: Readers, published: PublishedTable, progress: Progress
    ) -> None:
        self._source = source
        self._stored = stored
        self._readers = readers
        self._published = published
        self._progress = progress
        self._tally: Counter[str] = Counter()

    def report(self, asked: Asked) -> Report:
        # The order matters: a worker publishes before it stores, so all that is in the store now is in the topics
        # when they are read afterwards.
        next_offsets = self._stored.next_offsets()
        self._findings = Findings(asked.most_named)
        self._firsts = self._readers.reviews.first_offsets()
        ends = self._readers.reviews.ends()
        self._counted: Counted[ConsumerRecord] = Counted(self._progress, self._total(ends))
        predictions, rejected = self._sort_published()
        for partition in sorted({*ends, *next_offsets, *self._published.partitions()}):
            limits = Limits(
                next_offset=next_offsets.get(partition, 0),
                kept_from=lambda: self._stored.kept_from,
                held_from=FirstOffset(self._readers.reviews, partition, self._firsts),
                predictions_from_ms=predictions.held_from_ms,
                rejected_from_ms=rejected.held_from_ms,
                longest_text=asked.longest_text,
                is_complete=asked.is_complete,
            )
            self._compare(partition, limits, ends.get(partition, 0))
        for place in self._stored.rows_ahead():
            self._add(Fault.DOUBLED, *place, "a row where the store itself says that it has not read yet")
        return self._summary(self._check_rollup())

    def _total(self, ends: Mapping[int, int]) -> int:
        """Return how many records there are to read, about."""
        total = sum(ends.values()) - sum(self._firsts.values())
        for reader in (self._readers.predictions, self._readers.rejected):
            total += sum(reader.ends().values()) - sum(reader.first_offsets().values())
        return total

    def _sort_published(self) -> tuple[Horizon, Horizon]:
        """Sort what was published on disk; return how far back the two topics reach."""
        sources = Sources(self._source, self._stored.earlier)
        horizons = []
        for reader in (self._readers.predictions, self._readers.rejected):
            sorting = Sorting(sources, reader.topic, self._tally, self._findings.add)
            sort = sorting.predictions if reader is self._readers.predictions else sorting.rejections
            horizon = Horizon(reader.first_offsets())
            records = self._counted.records(horizon.watched(reader.all_records()), f"topic {reader.topic}")
            self._published.add(sort(records))
            horizons.append(horizon)
        return horizons[0], horizons[1]

    def _compare(self, partition: int, limits: Limits, end: int) -> None:
        if limits.next_offset > end:
            what = f"the store reads on at {limits.next_offset}, behind the topic's end {end}: records will be missed"
            self._add(Fault.LOST, partition, end, what)
        sent: Iterable[ConsumerRecord] = ()
        if partition in self._firsts:
            sent = self._counted.records(
                self._readers.reviews.records(partition), f"topic {self._source.topic}, partition {partition}"
            )
        rows = self._stored.rows(partition, limits.next_offset)
        audit = PartitionAudit(self._source, partition, limits, self._tally)
        for difference in audit.differences(align(sent, rows, self._published.of_partition(partition))):
            self._findings.add(difference)

    def _check_rollup(self) -> int:
        """Name what does not add up; return how many reviews the roll-up counts."""
        rollup = self._stored.rollup()
        for what in rollup.faults():
            self._findings.add(Difference(Fault.ROLLUP, self._source.topic, None, None, what))
        return rollup.counted

    def _add(self, fault: Fault, partition: int, offset: int, what: str) -> None:
        self._findings.add(Difference(fault, self._source.topic, partition, offset, what))

    def _summary(self, rolled_up: int) -> Report:
        fields = set(Report.__struct_fields__)
        return Report(
            topic=self._source.topic,
            topic_id=self._source.topic_id,
            rows_of_other_sources=self._stored.rows_of_other_sources(),
            rolled_up=rolled_up,
            faults={fault: self._findings.counts[fault] for fault in Fault},
            differences=self._findings.named,
            **dict.fromkeys(sorted(fields - _NOT_TALLIED), 0) | self._tally,
        )


_NOT_TALLIED: Final = {"topic", "topic_id", "rows_of_other_sources", "rolled_up", "faults", "differences"}

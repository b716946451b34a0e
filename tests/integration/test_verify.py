"""`reviewpulse verify` on both brokers: a healthy run passes, and each kind of damage is found and named."""

import contextlib
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.partitioner.default import murmur2

from reviewpulse.broker import SourceReader, client_options, connect_admin, ensure_topics
from reviewpulse.records import Origin, Source, TextLimit, scored
from reviewpulse.schema import connect
from reviewpulse.settings import KafkaSettings
from stream_app.batch import Message, Outcome, decode_batch
from stream_app.store import PredictionStore
from stream_app.topic_reader import TopicReader
from stream_app.topics import prediction_headers, rejection_headers
from tests.brokers import fresh_topics
from tests.integration.processes import Desk, wait_until

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
"""When everything was scored: before it was published."""

GOOD = [b'{"text": "review %d", "title": "t", "rating": 4}' % number for number in range(60)]
BROKEN = [b"{broken", b"", b'{"rating": 3}']


@pytest.fixture
def desk(tmp_path: Path, kafka: KafkaSettings) -> Iterator[Desk]:
    desk = Desk(tmp_path, kafka, Path("default"))
    ensure_topics(kafka)
    yield desk
    desk.clear()


class Line:
    """Does a worker's work in this process and with a model of stone, so that a test may leave a step out."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.source = _read_source(desk.kafka)

    def run(self, skip_publishing: Callable[[Origin], bool] = lambda _: False) -> Outcome:
        """Publish and store all that the topic holds; return the outcome."""
        with TopicReader(self.desk.kafka, self.desk.kafka.reviews_topic) as reader:
            messages = [Message(r.partition, r.offset, r.value) for r in reader.all_records()]
            ends = reader.ends()
        outcome = outcome_of(self.source, messages)
        kept = Outcome(
            [item for item in outcome.scored if not skip_publishing(item[0])],
            [item for item in outcome.rejected if not skip_publishing(item[0])],
        )
        self.publish(kept)
        engine = connect(f"sqlite:///{self.desk.store}", writable=True)
        store = PredictionStore(engine)
        store.write(store.register(self.source), outcome, NOW, ends)
        engine.dispose()
        return outcome

    def ends(self) -> dict[int, int]:
        """Return the ends of the reviews topic's partitions."""
        with TopicReader(self.desk.kafka, self.desk.kafka.reviews_topic) as reader:
            return reader.ends()

    def publish(self, outcome: Outcome) -> None:
        """Publish an outcome."""
        with contextlib.closing(KafkaProducer(**client_options(self.desk.kafka))) as producer:
            for origin, _, said in outcome.scored:
                producer.send(
                    self.desk.kafka.predictions_topic,
                    key=said.review_id.encode(),
                    value=said.encode(),
                    headers=prediction_headers(origin),
                )
            for origin, rejected in outcome.rejected:
                producer.send(
                    self.desk.kafka.rejected_topic,
                    key=origin.event_id.encode(),
                    value=rejected.raw,
                    headers=rejection_headers(origin, rejected),
                )
            producer.flush()


def outcome_of(source: Source, messages: list[Message]) -> Outcome:
    """Return what a worker makes of messages, all reviews with five stars."""
    decoded = decode_batch(source, messages, TextLimit())
    model = ("stone", "1")
    return Outcome(
        [
            (origin, review, scored(review, (0.1, 0.1, 0.1, 0.1, 0.6), "very positive", model, NOW, origin))
            for origin, review in decoded.reviews
        ],
        decoded.rejected,
    )


def _read_source(kafka: KafkaSettings) -> Source:
    with contextlib.closing(SourceReader(kafka)) as reader:
        return reader.read()


@pytest.fixture
def line(desk: Desk) -> Line:
    send(desk, *GOOD, *BROKEN)
    return Line(desk)


def send(desk: Desk, *values: bytes) -> None:
    """Send values to all partitions in turn."""
    with contextlib.closing(KafkaProducer(**client_options(desk.kafka))) as producer:
        for number, value in enumerate(values):
            producer.send(desk.kafka.reviews_topic, value=value, partition=number % 4)
        producer.flush()


def change(desk: Desk, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(desk.store)) as connection, connection:
        assert connection.execute(statement).rowcount == 1, statement


def checked(desk: Desk, *options: str) -> tuple[int, dict[str, Any]]:
    """Run `verify --json` and return its exit code and report."""
    code, output = desk.run("verify", "--json", *options)
    return code, msgspec.json.decode(output.splitlines()[-1])


def faults(report: dict[str, Any]) -> dict[str, int]:
    return {fault: count for fault, count in report["faults"].items() if count}


def place(difference: dict[str, Any]) -> tuple[str, str, int, int]:
    return difference["fault"], difference["topic"], difference["partition"], difference["offset"]


def test_what_a_real_worker_did_is_verified(desk: Desk, tiny_checkpoint: Path) -> None:
    desk.send(*GOOD, *BROKEN)
    with desk.worker("--checkpoint", str(tiny_checkpoint)):
        wait_until(lambda: desk.count("predictions") + desk.count("rejections") >= 63, "63 rows")
        code, output = desk.run("verify", "--complete")

    assert code == 0, output
    assert "all is well: nothing lost, nothing twice" in output
    assert [line.split()[-1] for line in output.splitlines() if "records checked" in line] == ["63"]
    assert next(line.split()[-1] for line in output.splitlines() if "roll-up" in line) == "60"


def test_a_healthy_run_has_no_differences_and_a_repeated_prediction_is_none(line: Line) -> None:
    outcome = line.run()
    line.publish(Outcome(outcome.scored[:5], outcome.rejected[:1]))

    code, report = checked(line.desk, "--complete")

    assert (code, faults(report), report["is_well"]) == (0, {}, True)
    assert (report["records"], report["scored"], report["rejected"], report["repeated"]) == (63, 60, 3, 6)
    assert (report["predictions"], report["rejected_records"]) == (65, 4)
    assert report["rolled_up"] == 60


def test_a_text_without_its_tail_is_named_unless_the_workers_limit_cut_it(line: Line) -> None:
    line.desk.send(b'{"text": "%s"}' % (b"x" * 2_000))
    line.run()
    change(line.desk, "UPDATE predictions SET text = substr(text, 1, 1500) WHERE length(text) = 2000")

    found = {}
    for limit in ("1500", "1501"):
        line.desk.environment["REVIEWPULSE_LONGEST_TEXT"] = limit
        code, report = checked(line.desk)
        found[limit] = (code, faults(report), report["cut"])

    assert found == {"1500": (0, {}, 1), "1501": (1, {"differing": 1}, 0)}


def test_a_row_that_was_deleted_is_named_as_lost_and_the_roll_up_no_longer_adds_up(line: Line) -> None:
    gone = line.run().scored[7][0]
    change(line.desk, f'DELETE FROM predictions WHERE partition = {gone.partition} AND "offset" = {gone.offset}')

    code, report = checked(line.desk)

    assert (code, faults(report)) == (1, {"lost": 1, "roll-up": 1})
    assert place(report["differences"][0]) == ("lost", line.source.topic, gone.partition, gone.offset)


@pytest.mark.parametrize("column", ["text", "asin", "p_very_positive", "p_negative", "model_version", "scored_at_ms"])
def test_a_row_that_was_altered_is_named_as_differing(line: Line, column: str) -> None:
    origin = line.run().scored[7][0]
    where = f'partition = {origin.partition} AND "offset" = {origin.offset}'
    change(line.desk, f"UPDATE predictions SET {column} = 2 WHERE {where}")

    code, report = checked(line.desk)

    assert (code, faults(report)) == (1, {"differing": 1})
    assert place(report["differences"][0]) == ("differing", line.source.topic, origin.partition, origin.offset)


@pytest.mark.parametrize(
    "altered",
    ["predictions SET stars = 2", "predictions SET confidence = 2", "sentiment_by_second SET confidence_sum = 9"],
)
def test_a_roll_up_that_is_not_that_of_the_rows_is_named_also_after_a_pruning(line: Line, altered: str) -> None:
    origin = line.run().scored[7][0]
    where = f'WHERE partition = {origin.partition} AND "offset" = {origin.offset}' if "predictions" in altered else ""
    change(line.desk, f"UPDATE {altered} {where}")
    change(line.desk, 'DELETE FROM predictions WHERE partition = 0 AND "offset" = 0')
    change(line.desk, "UPDATE offsets SET kept_from = 1 WHERE partition = 0")

    code, report = checked(line.desk)

    assert (code, faults(report)) == (1, {"roll-up": 1} | ({"differing": 1} if where else {}))
    assert report["pruned"] == 1


COPY = (
    'INSERT INTO predictions SELECT source_id, {0}, {1}, event_id, review_id, title, "text", asin, category, rating,'
    " stars, confidence, p_very_negative, p_negative, p_neutral, p_positive, p_very_positive, model_name,"
    ' model_version, reviewed_at_ms, scored_at_ms FROM predictions WHERE partition = {2} AND "offset" = {3}'
)


@pytest.mark.parametrize("where", ["behind the end", "where a record was rejected"])
def test_a_second_row_of_a_record_is_named_as_doubled(line: Line, where: str) -> None:
    outcome = line.run()
    first, twin = outcome.scored[7][0], outcome.rejected[0][0]
    target = (first.partition, 1_000) if where == "behind the end" else (twin.partition, twin.offset)
    change(line.desk, COPY.format(*target, first.partition, first.offset))

    code, report = checked(line.desk)

    assert code == 1
    assert ("doubled", line.source.topic, *target) in [place(difference) for difference in report["differences"]]


def test_a_prediction_and_a_rejection_that_were_never_published_are_named(line: Line) -> None:
    withheld: list[Origin] = []

    def skip(origin: Origin) -> bool:
        is_chosen = origin.offset == 3
        withheld.extend([origin] if is_chosen else [])
        return is_chosen

    line.run(skip_publishing=skip)

    code, report = checked(line.desk)

    assert withheld
    assert (code, faults(report)) == (1, {"unpublished": len(withheld)})
    assert sorted(place(difference) for difference in report["differences"]) == sorted(
        ("unpublished", line.source.topic, origin.partition, origin.offset) for origin in withheld
    )


@pytest.mark.parametrize("kind", ["no such record", "an unknown source"])
def test_a_prediction_of_a_record_that_is_not_there_is_named_as_foreign(line: Line, kind: str) -> None:
    outcome = line.run()
    first, review, said = outcome.scored[0]
    if kind == "no such record":
        origin = Origin(line.source, first.partition, line.ends()[first.partition] + 5)
    else:
        origin = Origin(Source("c", line.source.topic, str(uuid.uuid4())), first.partition, first.offset)
    line.publish(Outcome([(origin, review, msgspec.structs.replace(said, source_offset=origin.offset))], []))

    code, report = checked(line.desk)

    assert (code, faults(report)) == (1, {"foreign": 1})
    named = report["differences"][0]
    if kind == "no such record":
        assert place(named) == ("foreign", line.source.topic, origin.partition, origin.offset)
    else:
        assert (named["topic"], origin.event_id in named["what"]) == (line.desk.kafka.predictions_topic, True)


def test_an_offset_that_was_moved_past_a_record_is_named_as_a_gap(line: Line) -> None:
    line.run()
    line.desk.send(b'{"text": "never read"}')
    ends = line.ends()
    (partition,) = [
        partition
        for partition, end in ends.items()
        if line.desk.query(f"SELECT next_offset FROM offsets WHERE partition = {partition}") != [(end,)]
    ]
    assert checked(line.desk)[0] == 0, "what is not processed yet is no difference"
    assert faults(checked(line.desk, "--complete")[1]) == {"lost": 1}
    change(line.desk, f"UPDATE offsets SET next_offset = next_offset + 1 WHERE partition = {partition}")

    code, report = checked(line.desk)

    assert (code, faults(report)) == (1, {"lost": 1})
    assert place(report["differences"][0]) == ("lost", line.source.topic, partition, ends[partition] - 1)


def test_a_rejection_that_was_never_published_is_named_though_other_partitions_have_lost_all_their_records(
    apache_address: str, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, fresh_topics(apache_address), Path("default"))
    ensure_topics(desk.kafka)
    send(desk, *GOOD, *BROKEN * 12)  # so many that some share the partition of the one that is missing
    withheld: list[Origin] = []

    def skip(origin: Origin) -> bool:
        is_chosen = not withheld and origin.partition == 0 and origin.offset >= 15
        withheld.extend([origin] if is_chosen else [])
        return is_chosen

    Line(desk).run(skip_publishing=skip)
    own = (murmur2(withheld[0].event_id.encode()) & 0x7FFFFFFF) % desk.kafka.partitions

    empty(desk.kafka, desk.kafka.rejected_topic, {0, 1, 2, 3} - {own})
    code, report = checked(desk, "--complete")
    assert (code, faults(report)) == (1, {"unpublished": 1})
    assert place(report["differences"][0])[2:] == (withheld[0].partition, withheld[0].offset)

    empty(desk.kafka, desk.kafka.rejected_topic, {own})
    code, output = desk.run("verify", "--complete")
    desk.clear()
    assert (code, output.splitlines()[-1]) == (
        0,
        "nothing lost, nothing twice in what can be checked; not checked, for their age: 36 published records",
    )


def empty(kafka: KafkaSettings, topic: str, partitions: set[int]) -> None:
    """Delete all records of some partitions, as Kafka's retention does."""
    with TopicReader(kafka, topic) as reader:
        ends = reader.ends()
    with contextlib.closing(connect_admin(kafka)) as admin:
        admin.delete_records({TopicPartition(topic, partition): ends[partition] for partition in partitions})


def test_what_kafka_has_deleted_after_its_time_is_no_fault(apache_address: str, tmp_path: Path) -> None:
    desk = Desk(tmp_path, fresh_topics(apache_address), Path("default"))
    ensure_topics(desk.kafka)
    send(desk, *GOOD, *BROKEN)
    line = Line(desk)
    line.run()
    with contextlib.closing(connect_admin(desk.kafka)) as admin:
        for topic, count in zip(desk.kafka.topics, (5, 9, 1), strict=True):
            with TopicReader(desk.kafka, topic) as reader:
                ends = reader.ends()
            cut = {TopicPartition(topic, partition): min(count, end) for partition, end in ends.items()}
            admin.delete_records(cut)

    code, report = checked(desk, "--complete")
    desk.clear()

    assert (code, faults(report), report["records"], report["no_longer_in_topic"]) == (0, {}, 43, 20)
    assert report["no_longer_published"] > 20

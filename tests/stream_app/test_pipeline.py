import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reviewpulse.decision import Predictions
from reviewpulse.errors import BrokerError, SourceChangedError
from reviewpulse.records import Origin, Source, TextLimit, decode_scored
from reviewpulse.schema import connect, predictions, rejections, sentiment_by_second
from reviewpulse.settings import KafkaSettings
from stream_app.batch import Message
from stream_app.outages import Outages
from stream_app.pipeline import Model, Pipeline, Sinks
from stream_app.steps import Step
from stream_app.store import PredictionStore
from tests.stream_app.fakes import NOW, SOURCE, ListSender, StarModel, review_bytes

KAFKA = KafkaSettings()


class DeathError(Exception):
    """A worker that is no more."""


class Bench:
    """A pipeline with a real store and everything else in sight."""

    def __init__(self, url: str, executor: ThreadPoolExecutor) -> None:
        self.engine = connect(url, writable=True)
        self.model = StarModel()
        self.sender = ListSender()
        self.source = SOURCE
        self.outages = Outages()
        self.steps: list[Step] = []
        self.dies_after: Step | None = None
        self.batches_left = 1
        """In how many batches it takes that step before it dies there."""
        self._executor = executor

    def pipeline(self, read_source: Callable[[], Source] | None = None, retry_seconds: float = 5) -> Pipeline:
        """Return a pipeline whose model is loaded."""
        model: Future[Model] = Future()
        model.set_result(self.model)
        sinks = Sinks(self.sender, PredictionStore(self.engine), read_source or (lambda: self.source))
        return Pipeline(
            model,
            sinks,
            self._executor,
            KAFKA,
            retry_seconds=retry_seconds,
            publish_seconds=0.5,
            clock=lambda: NOW,
            text_limit=TextLimit(50),
            outages=self.outages,
            on_step=self._step,
        )

    def work(self, messages: Sequence[Message], batch_reviews: int) -> None:
        """Be a worker that reads on where the store ends, in batches, and acknowledges each; or dies."""

        async def all_batches() -> None:
            pipeline = self.pipeline()
            ends = await pipeline.resume()
            left = [message for message in messages if message.offset >= ends.get(message.partition, 0)]
            for start in range(0, len(left), batch_reviews):
                await pipeline.process(left[start : start + batch_reviews], {})
                self._step(Step.acknowledged)

        with contextlib.suppress(DeathError):
            asyncio.run(all_batches())

    def _step(self, step: Step) -> None:
        self.steps.append(step)
        if step is self.dies_after:
            self.batches_left -= 1
            if not self.batches_left:
                raise DeathError

    def places(self, table: sa.Table) -> list[tuple[int, int]]:
        """Return partition and offset of a table's rows in order."""
        query = sa.select(table.c.partition, table.c.offset).order_by(table.c.partition, table.c.offset)
        with self.engine.connect() as connection:
            return [(row.partition, row.offset) for row in connection.execute(query)]

    def count(self, table: sa.Table) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ThreadPoolExecutor(2) as executor:
        bench = Bench(f"sqlite:///{tmp_path}/store.db", executor)
        yield bench
        bench.engine.dispose()


def run(pipeline: Pipeline, *batches: list[Message]) -> None:
    async def all_of_them() -> None:
        await pipeline.resume()
        for batch in batches:
            await pipeline.process(batch, {})

    asyncio.run(all_of_them())


def test_reviews_are_published_and_stored_and_the_malformed_go_to_the_rejects(bench: Bench) -> None:
    run(bench.pipeline(), [Message(0, 0, review_bytes("1 star", review_id="a", rating=2)), Message(0, 1, b"{broken")])

    (prediction, reject) = bench.sender.sent
    assert (prediction[0], prediction[1]) == ("predictions", b"a")
    value = decode_scored(prediction[2] or b"")
    assert (value.label, value.stars, value.rating, value.source_offset) == ("very negative", 1, 2.0, 0)
    assert prediction[3] == [("event_id", Origin(SOURCE, 0, 0).event_id.encode())]
    assert (reject[0], reject[2]) == ("reviews.rejected", b"{broken")
    assert dict(reject[3])["source_offset"] == b"1"
    assert (bench.count(predictions), bench.count(rejections)) == (1, 1)


def test_the_model_reads_cleaned_title_and_text(bench: Bench) -> None:
    run(bench.pipeline(), [Message(0, 0, review_bytes("so<br />good", title="Caf&eacute;"))])

    assert bench.model.batches == [["Café | so good"]]


def test_a_stored_message_is_not_scored_again_by_the_next_worker(bench: Bench) -> None:
    batch = [Message(0, 0, review_bytes("5")), Message(0, 1, review_bytes("4"))]
    run(bench.pipeline(), batch)

    run(bench.pipeline(), [*batch, Message(0, 2, review_bytes("3"))])

    assert [len(texts) for texts in bench.model.batches] == [2, 1]
    assert bench.count(predictions) == 3


def test_nothing_is_stored_before_it_is_published(bench: Bench) -> None:
    bench.sender.failures = 1_000
    with pytest.raises(BrokerError, match="broker is away"):
        run(bench.pipeline(retry_seconds=0.2), [Message(0, 0, review_bytes("5"))])

    assert bench.count(predictions) == 0


def test_a_clock_ahead_of_kafkas_is_named(bench: Bench) -> None:
    bench.sender.is_behind = True
    with pytest.raises(BrokerError, match="clock is ahead"):
        run(bench.pipeline(retry_seconds=0.2), [Message(0, 0, review_bytes("5"))])

    assert bench.count(predictions) == 0


def test_an_outage_is_retried_in_place_until_it_is_over(bench: Bench) -> None:
    bench.sender.failures = 2
    run(bench.pipeline(), [Message(0, 0, review_bytes("5"))])

    assert len(bench.sender.sent) == 1
    assert bench.count(predictions) == 1


def test_a_model_that_fails_on_anything_stops_the_worker_and_blames_no_review(bench: Bench) -> None:
    def broken(_texts: object) -> None:
        raise ZeroDivisionError

    bench.model.predict = broken  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        run(bench.pipeline(), [Message(0, 0, review_bytes("5"))])

    assert not bench.sender.sent
    assert bench.count(predictions) == bench.count(rejections) == 0


def test_reviews_that_make_the_model_fail_are_rejected_and_the_others_of_their_batch_scored(bench: Bench) -> None:
    bench.model.poison = "poison"
    texts = ["1", "poison", "3", "4", "poison too", "5", "2"]
    run(bench.pipeline(), [Message(0, offset, review_bytes(text)) for offset, text in enumerate(texts)])

    scored = [decode_scored(value or b"") for topic, _, value, _ in bench.sender.sent if topic == "predictions"]
    assert [(one.source_offset, one.stars) for one in scored] == [(0, 1), (2, 3), (3, 4), (5, 5), (6, 2)]
    rejected = [(value, dict(headers)) for topic, _, value, headers in bench.sender.sent if topic != "predictions"]
    assert [value for value, _ in rejected] == [review_bytes("poison"), review_bytes("poison too")]
    assert {headers["reason"] for _, headers in rejected} == {
        b"the model failed on it: IndexError: index 7 is out of range"
    }
    assert (bench.count(predictions), bench.count(rejections)) == (5, 2)


def test_records_that_were_read_and_never_handed_over_end_the_worker(bench: Bench) -> None:
    first = [Message(0, at, review_bytes("5"), follows=at) for at in range(3)]
    behind_a_marker = Message(0, 4, review_bytes("5"), follows=3)

    with pytest.raises(BrokerError, match="passed over records of partition 0 that lie before 10"):
        run(bench.pipeline(), first, [behind_a_marker], [Message(0, 10, review_bytes("5"), follows=10)])

    assert bench.places(predictions) == [(0, 0), (0, 1), (0, 2), (0, 4)]


def test_a_review_whose_probabilities_are_no_numbers_is_rejected_and_the_others_are_scored(bench: Bench) -> None:
    bench.model.vapour = "vapour"
    run(bench.pipeline(), [Message(0, at, review_bytes(text)) for at, text in enumerate(["1", "vapour", "3"])])

    assert (bench.places(predictions), bench.places(rejections)) == ([(0, 0), (0, 2)], [(0, 1)])
    assert [len(batch) for batch in bench.model.batches] == [3, 1], "found at once, not by halving"
    (reason,) = [dict(headers)["reason"] for topic, _, _, headers in bench.sender.sent if topic == "reviews.rejected"]
    assert b"no numbers" in reason


def test_a_model_that_gives_no_numbers_for_a_harmless_text_blames_no_review(bench: Bench) -> None:
    bench.model.vapour = "o"  # as in the harmless text

    with pytest.raises(FloatingPointError):
        run(bench.pipeline(), [Message(0, 0, review_bytes("so so"))])

    assert (bench.count(predictions), bench.count(rejections), bench.sender.sent) == (0, 0, [])


def test_a_topic_made_anew_ends_the_pipeline_before_its_messages_are_taken_for_old_ones(bench: Bench) -> None:
    pipeline = bench.pipeline()
    run(pipeline, [Message(0, 0, review_bytes("5"))])
    bench.source = Source("cluster", "reviews", "topic-id-2")

    with pytest.raises(SourceChangedError, match="topic-id-2"):
        asyncio.run(pipeline.process([Message(0, 1, review_bytes("5"))], {}))

    assert (len(bench.sender.sent), bench.count(predictions)) == (1, 1)
    run(bench.pipeline(), [Message(0, 0, review_bytes("new")), Message(0, 1, review_bytes("new"))])
    assert bench.count(predictions) == 3


def test_kafka_being_away_for_too_long_is_raised(bench: Bench) -> None:
    def unreachable() -> Source:
        raise BrokerError("no Kafka answers")

    with pytest.raises(BrokerError, match="no Kafka answers"):
        run(bench.pipeline(unreachable, retry_seconds=0.2))


def test_a_worker_that_is_to_stop_does_not_wait_for_an_outage_to_end(bench: Bench) -> None:
    bench.sender.failures = 1_000
    pipeline = bench.pipeline(retry_seconds=3_600)

    async def stop_in_the_outage() -> None:
        await pipeline.resume()
        asyncio.get_running_loop().call_later(0.2, pipeline.give_up_retrying)
        await asyncio.wait_for(pipeline.process([Message(0, 0, review_bytes("5"))], {}), timeout=10)

    with pytest.raises(BrokerError, match="broker is away"):
        asyncio.run(stop_in_the_outage())


def test_a_delivery_that_never_ends_is_an_outage(bench: Bench) -> None:
    bench.sender.is_silent = True
    with pytest.raises(BrokerError, match="did not take a batch"):
        run(bench.pipeline(retry_seconds=0.1), [Message(0, 0, review_bytes("5"))])

    assert bench.count(predictions) == 0


def test_a_reject_too_large_for_kafka_goes_without_its_bytes(bench: Bench) -> None:
    bench.sender.most_bytes = 50
    raw = b"{" * 60
    run(bench.pipeline(), [Message(0, 0, raw), Message(0, 1, b"{small")])

    values = {dict(headers)["source_offset"]: (value, dict(headers)) for _, _, value, headers in bench.sender.sent}
    assert values[b"1"][0] == b"{small"
    assert values[b"0"][0] is None
    assert values[b"0"][1]["value_bytes"] == b"60"
    assert values[b"0"][1]["value_sha256"] == hashlib.sha256(raw).hexdigest().encode()
    assert bench.count(rejections) == 2


def test_a_message_delivered_twice_in_one_batch_is_scored_and_counted_once(bench: Bench) -> None:
    run(bench.pipeline(), [Message(0, 0, review_bytes("5")), Message(0, 0, review_bytes("5"))])

    assert [len(texts) for texts in bench.model.batches] == [1]
    with bench.engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.sum(sentiment_by_second.c.reviews))) == 1


def test_a_batch_is_published_before_it_is_stored_and_takes_every_step_in_order(bench: Bench) -> None:
    run(bench.pipeline(), [Message(0, 0, review_bytes("5"))])

    assert bench.steps == [step for step in Step if step is not Step.acknowledged]


def test_a_partition_that_has_become_shorter_ends_the_worker_instead_of_passing_over_new_records(bench: Bench) -> None:
    pipeline = bench.pipeline()
    run(pipeline, [Message(0, offset, review_bytes("5")) for offset in range(10)])

    async def after_kafka_lost_some() -> None:
        await pipeline.process([Message(0, 3, review_bytes("1"))], {0: 4})

    with pytest.raises(BrokerError, match="partition 0 of topic reviews ends at 4, but the store has read up to 10"):
        asyncio.run(after_kafka_lost_some())


def test_a_batch_that_is_cancelled_in_an_outage_leaves_no_outage_behind(bench: Bench) -> None:
    pipeline = bench.pipeline()
    bench.sender.failures = 1_000

    async def cancelled() -> None:
        await pipeline.resume()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pipeline.process([Message(0, 0, review_bytes("5"))], {}), 0.5)

    asyncio.run(cancelled())

    assert bench.outages.seconds is None


def test_a_lack_of_memory_is_no_review_s_fault(bench: Bench) -> None:
    def starved(texts: Sequence[str]) -> Predictions:
        raise MemoryError(f"no room for {len(texts)} texts")

    bench.model.predict = starved  # type: ignore[method-assign]

    with pytest.raises(MemoryError):
        run(bench.pipeline(), [Message(0, 0, review_bytes("5")), Message(0, 1, review_bytes("4"))])
    assert bench.count(rejections) == 0


def test_a_text_beyond_the_limit_is_stored_cut(bench: Bench) -> None:
    run(bench.pipeline(), [Message(0, 0, review_bytes("5" * 51))])

    with bench.engine.connect() as connection:
        assert connection.scalar(sa.select(predictions.c.text)) == "5" * 50


RECORDS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["1", "5", "poison", ""])), min_size=1, max_size=12)
"""Records of two partitions in the order in which they arrive: partition and text, without which one is malformed."""
DEATHS = st.lists(st.tuples(st.sampled_from(Step), st.integers(1, 4), st.integers(1, 4)), max_size=8)
"""One worker each: the step after which it dies, in which batch, and how many reviews it takes into one."""


def messages_of(records: Sequence[tuple[int, str]]) -> list[Message]:
    offsets = {0: count(), 1: count()}
    return [Message(part, next(offsets[part]), review_bytes(text) if text else b"{") for part, text in records]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=RECORDS, deaths=DEATHS)
def test_wherever_workers_die_each_record_ends_once_and_nothing_is_stored_that_was_not_published(
    tmp_path: Path, records: list[tuple[int, str]], deaths: list[tuple[Step, int, int]]
) -> None:
    """Run one worker after another over what is left; each dies where it is told, or has done all before."""
    messages = messages_of(records)
    with ThreadPoolExecutor(2) as executor, tempfile.TemporaryDirectory(dir=tmp_path) as folder:
        bench = Bench(f"sqlite:///{folder}/store.db", executor)
        bench.model.poison = "poison"
        for bench.dies_after, bench.batches_left, batch_reviews in deaths:
            bench.work(messages, batch_reviews)
            published = {dict(headers)["event_id"].decode() for _, _, _, headers in bench.sender.sent}
            stored = bench.places(predictions) + bench.places(rejections)
            assert {Origin(SOURCE, *place).event_id for place in stored} <= published
        bench.dies_after = None
        bench.work(messages, 5)

        is_scored = {
            (one.partition, one.offset): text in {"1", "5"} for one, (_, text) in zip(messages, records, strict=True)
        }
        assert bench.places(predictions) == sorted(place for place, scored in is_scored.items() if scored)
        assert bench.places(rejections) == sorted(place for place, scored in is_scored.items() if not scored)
        bench.engine.dispose()

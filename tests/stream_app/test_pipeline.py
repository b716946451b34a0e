import asyncio
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from reviewpulse.errors import BrokerError, SourceChangedError
from reviewpulse.records import Origin, Source, decode_scored
from reviewpulse.schema import connect, predictions, rejections, sentiment_by_second
from reviewpulse.settings import KafkaSettings
from stream_app.batch import Message
from stream_app.pipeline import Model, Pipeline, Sinks
from stream_app.store import PredictionStore
from tests.stream_app.fakes import NOW, SOURCE, ListSender, StarModel, review_bytes

KAFKA = KafkaSettings()


class Bench:
    """A pipeline with a real store and everything else in sight."""

    def __init__(self, url: str, executor: ThreadPoolExecutor) -> None:
        self.engine = connect(url, writable=True)
        self.model = StarModel()
        self.sender = ListSender()
        self.source = SOURCE
        self._executor = executor

    def pipeline(self, read_source: Callable[[], Source] | None = None, retry_seconds: float = 5) -> Pipeline:
        """Return a pipeline whose model is loaded."""
        model: Future[Model] = Future()
        model.set_result(self.model)
        sinks = Sinks(self.sender, PredictionStore(self.engine), read_source or (lambda: self.source))
        return Pipeline(
            model, sinks, self._executor, KAFKA, retry_seconds=retry_seconds, publish_seconds=0.5, clock=lambda: NOW
        )

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


def test_an_outage_is_retried_in_place_until_it_is_over(bench: Bench) -> None:
    bench.sender.failures = 2
    run(bench.pipeline(), [Message(0, 0, review_bytes("5"))])

    assert len(bench.sender.sent) == 1
    assert bench.count(predictions) == 1


def test_a_defect_is_raised_at_once(bench: Bench) -> None:
    def broken(_texts: object) -> None:
        bench.model.batches.append([])
        raise ZeroDivisionError

    bench.model.predict = broken  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        run(bench.pipeline(), [Message(0, 0, review_bytes("5"))])

    assert len(bench.model.batches) == 1
    assert bench.count(predictions) == 0


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

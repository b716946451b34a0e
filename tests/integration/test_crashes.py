"""Workers that die after every step of a batch's life, on both brokers: nothing lost, nothing stored twice."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from reviewpulse.broker import ensure_topics
from reviewpulse.settings import KafkaSettings
from stream_app.steps import Step
from tests.integration.processes import Desk, wait_until, wait_until_still

REVIEWS = 3_000
KILLED = -signal.SIGKILL
QUICK_GROUP = {"REVIEWPULSE_SESSION_SECONDS": "1.5", "REVIEWPULSE_BATCH_REVIEWS": "16"}


@pytest.fixture
def desk(tmp_path: Path, kafka: KafkaSettings, tiny_checkpoint: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, kafka, tiny_checkpoint)
    yield desk
    desk.clear()


@pytest.mark.timeout(900)  # 33 workers start one after the other, which a busy machine draws out
def test_a_worker_may_die_after_any_step_of_a_batch(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    broken = [b"{broken %d" % number for number in range(REVIEWS // 10)]
    desk.send(*(b'{"text": "review %d"}' % number for number in range(REVIEWS)), *broken, spread=True)

    for step in Step:
        for batch, way, code in ((1, "raise", 1), (2, "kill", KILLED), (3, "raise", 1), (1, "kill", KILLED)):
            worker = desk.start_stub(STUB_DIES=f"{step.name}:{batch}:{way}", **QUICK_GROUP)
            assert worker.wait(60) == code, f"{step.name}, {way}: {desk.output_of(worker)}"
    assert desk.query("SELECT count(DISTINCT partition) FROM predictions") == [(desk.kafka.partitions,)]
    assert desk.count("predictions") < REVIEWS, "the last death came too late to prove anything"
    survivor = desk.start_stub(**QUICK_GROUP)
    wait_until(lambda: desk.count("predictions") + desk.count("rejections") >= REVIEWS + len(broken), "all rows")
    survivor.send_signal(signal.SIGTERM)
    assert survivor.wait(30) == 0, desk.output_of(survivor)

    code, verdict = desk.run("verify", "--complete")
    assert code == 0, verdict
    assert (desk.count("predictions"), desk.count("rejections")) == (REVIEWS, len(broken))
    assert desk.query("SELECT sum(reviews) FROM sentiment_by_second") == [(REVIEWS,)]
    assert desk.query("SELECT count(DISTINCT text) FROM predictions") == [(REVIEWS,)]
    assert desk.query("SELECT sum(high_watermark - next_offset) FROM offsets") == [(0,)]
    published = {headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)}
    assert published == {row[0] for row in desk.query("SELECT event_id FROM predictions")}
    assert {value for value, _ in desk.records(desk.kafka.rejected_topic)} == set(broken)


def test_stock_take_loses_the_batch_whose_handler_raised_and_this_worker_does_not(desk: Desk) -> None:
    ensure_topics(desk.kafka)
    values = [b'{"text": "review %d"}' % number for number in range(160)]
    desk.send(*values)
    lines = desk.folder / "stock.txt"

    def taken_by_stock() -> set[bytes]:
        return set(lines.read_bytes().splitlines()) if lines.exists() else set()

    failing = desk.start_module("tests.integration.stock_take", str(lines), "2")
    wait_until(lambda: len(taken_by_stock()) >= 16, "stock Faust handles a batch")
    wait_until_still(lambda: len(taken_by_stock()))
    failing.kill()
    failing.wait()
    desk.start_module("tests.integration.stock_take", str(lines))
    desk.send(b"the last")
    wait_until(lambda: b"the last" in taken_by_stock(), "stock Faust reads on after a restart")
    wait_until_still(lambda: len(taken_by_stock()))

    assert set(values) - taken_by_stock(), "stock take() lost nothing: the worker may use it now"

    ours = desk.start_stub(STUB_DIES="scored:2:raise", **QUICK_GROUP)
    assert ours.wait(60) == 1
    desk.start_stub(**QUICK_GROUP)
    wait_until(lambda: desk.count("predictions") >= len(values), "all reviews")
    assert desk.query("SELECT count(DISTINCT text) FROM predictions") == [(len(values),)]

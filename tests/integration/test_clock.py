"""A worker whose wall clock jumps."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reviewpulse.broker import ensure_topics
from reviewpulse.settings import KafkaSettings
from tests.clocks import MISSING, JumpingClock
from tests.integration.processes import Desk, wait_until

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture
def desk(tmp_path: Path, kafka: KafkaSettings) -> Iterator[Desk]:
    desk = Desk(tmp_path, kafka, Path("default"))
    ensure_topics(desk.kafka)
    yield desk
    desk.clear()


def test_a_worker_whose_clock_jumps_by_hours_loses_nothing_and_stores_nothing_twice(desk: Desk) -> None:
    clock = JumpingClock(desk.folder)
    worker = desk.start_stub(**clock.settings)
    for number, hours in enumerate((0, 1, -2, 0), 1):
        clock.jump(hours * 3600)
        desk.send(*(b'{"text": "review %d of %d"}' % (one, number) for one in range(100)), spread=True)
        wait_until(lambda rows=100 * number: desk.count("predictions") >= rows, "the rows")  # type: ignore[misc]
    worker.terminate()
    assert worker.wait(60) == 0, desk.output_of(worker)

    code, verdict = desk.run("verify", "--complete")
    assert code == 0, verdict
    ((hours_apart,),) = desk.query("SELECT (max(scored_at_ms) - min(scored_at_ms)) / 3600000.0 FROM predictions")
    assert 2.9 < float(str(hours_apart)) < 3.2

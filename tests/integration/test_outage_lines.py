"""What a worker says in an outage of its broker: when it begins, now and then, when it ends; and nothing is lost."""

import re
import time
from contextlib import ExitStack
from pathlib import Path

from reviewpulse.broker import ensure_topics
from reviewpulse.embedded import EmbeddedBroker, free_port
from tests.brokers import DistributionBroker, fresh_topics, kafka_home
from tests.integration.processes import Desk, wait_until

OUTAGE_SECONDS = 12.0
LINE_SECONDS = 4.0
SETTINGS = {
    "STUB_LINE_SECONDS": str(LINE_SECONDS),
    "STUB_SECONDS": "0.05",
    "REVIEWPULSE_BATCH_REVIEWS": "8",
    "REVIEWPULSE_CONNECT_SECONDS": "2",
    "REVIEWPULSE_RETRY_SECONDS": "150",
}
EXPECTED = re.compile(
    r"outage: .*; trying again until it is over$"
    r"|outage: lasts for \d+ s by now: "
    r"|the outage is over after \d+ s"
    r"|loaded checkpoint|reading topic|created topic|stopped; scored"
)


def said_in_outage(output: str) -> dict[str, int]:
    """Return how often the worker said that an outage began, lasts and is over, and how many other lines there are."""
    lines = [re.sub(r"^[0-9:.]+ ", "", line) for line in output.splitlines()]
    return {
        "begins": sum(line.endswith("trying again until it is over") for line in lines),
        "lasts": sum(line.startswith("outage: lasts for") for line in lines),
        "ends": sum(line.startswith("the outage is over after") for line in lines),
        "others": sum(not EXPECTED.match(line) for line in lines),
    }


def test_an_outage_of_apache_kafka_is_told_in_few_lines_and_nothing_is_lost(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    broker = DistributionBroker(kafka_home(), tmp_path / "kafka")
    broker.format()
    with ExitStack() as stack:
        stack.callback(broker.stop)
        broker.start()
        desk = Desk(tmp_path, fresh_topics(broker.address), Path("default"))
        stack.callback(desk.clear)
        ensure_topics(desk.kafka)
        reviews = [b'{"text": "review %d"}' % number for number in range(2_000)]
        desk.send(*reviews[:1_000])
        process = desk.start_stub(**SETTINGS)
        wait_until(lambda: desk.count("predictions") >= 100, "100 rows")

        broker.kill()
        time.sleep(OUTAGE_SECONDS)
        broker.start()
        desk.send(*reviews[1_000:])
        wait_until(lambda: desk.count("predictions") >= 2_000, "2,000 rows")
        process.terminate()

        assert process.wait(60) == 0, desk.output_of(process)
        assert desk.count("predictions") == 2_000
        assert {headers["event_id"] for _, headers in desk.records(desk.kafka.predictions_topic)} == {
            str(row[0]) for row in desk.query("SELECT event_id FROM predictions")
        }
        said = said_in_outage(desk.output_of(process))
        assert (said["begins"], said["ends"], said["others"]) == (1, 1, 0), desk.output_of(process)
        assert OUTAGE_SECONDS / LINE_SECONDS - 1 <= said["lasts"] <= 60 / LINE_SECONDS


def test_an_outage_of_the_embedded_broker_is_told_in_few_lines_and_it_comes_back_empty(tmp_path: Path) -> None:
    port = free_port()
    desk = Desk(tmp_path, fresh_topics(f"127.0.0.1:{port}"), Path("default"))
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker(port))
        stack.callback(desk.clear)
        ensure_topics(desk.kafka)
        desk.send(*(b'{"text": "review %d"}' % number for number in range(16)))
        stall = str(OUTAGE_SECONDS / 2)  # an outage is no standstill, however long
        process = desk.start_stub(**SETTINGS, REVIEWPULSE_STALL_SECONDS=stall)
        wait_until(lambda: desk.count("predictions") == 16, "16 rows")

        broker.stop()
        time.sleep(OUTAGE_SECONDS)
        said = said_in_outage(desk.output_of(process))
        stack.enter_context(EmbeddedBroker(port))
        ensure_topics(desk.kafka)

        assert (said["begins"], said["ends"], said["others"]) == (1, 0, 0), desk.output_of(process)
        assert OUTAGE_SECONDS / LINE_SECONDS - 2 <= said["lasts"] <= OUTAGE_SECONDS / LINE_SECONDS
        assert process.wait(60) == 1  # the stub does not start itself over, as the command does
        assert "was made anew" in desk.output_of(process)

"""Every client gets in where Kafka asks for a password."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import DistributionBroker
from tests.integration.conftest import fresh_topics
from tests.integration.processes import Desk, wait_until

pytestmark = pytest.mark.skipif(not os.environ.get("KAFKA_HOME"), reason="KAFKA_HOME names no distribution to start")

LOGIN = {
    "REVIEWPULSE_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "REVIEWPULSE_SASL_MECHANISM": "PLAIN",
    "REVIEWPULSE_SASL_USERNAME": "me",
    "REVIEWPULSE_SASL_PASSWORD": "secret-of-mine",
}


@pytest.fixture
def desk(tmp_path: Path, tiny_checkpoint: Path) -> Iterator[Desk]:
    broker = DistributionBroker(Path(os.environ["KAFKA_HOME"]), tmp_path, {"admin": "hush", "me": "secret-of-mine"})
    try:
        broker.format()
        broker.start()
        desk = Desk(tmp_path, fresh_topics(broker.address), tiny_checkpoint)
        yield desk
        desk.clear()
    finally:
        broker.stop()


def test_with_the_password_publish_work_and_tail_get_in_and_without_it_the_error_says_so(desk: Desk) -> None:
    (desk.folder / "mine.jsonl").write_text('{"text": "let me in"}\n')

    with desk.worker(**LOGIN):
        code, output = desk.run("publish", "mine.jsonl", **LOGIN)
        assert code == 0, output
        wait_until(lambda: desk.count("predictions") == 1, "a row")
    code, output = desk.run("tail", "predictions", "--from-beginning", "--limit", "1", **LOGIN)
    assert (code, json.loads(output)["source_offset"]) == (0, 0)

    wrong = LOGIN | {"REVIEWPULSE_SASL_PASSWORD": "wrong-one", "REVIEWPULSE_CONNECT_SECONDS": "3"}
    for command in (("publish", "mine.jsonl"), ("work",), ("tail",)):
        code, output = desk.run(*command, **wrong)
        assert code == 1, output
        assert output.startswith("error: no Kafka answers at"), output
        assert "refused the password" in output
        assert "wrong-one" not in output

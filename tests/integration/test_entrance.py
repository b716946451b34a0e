"""Getting into a Kafka that asks for TLS, certificates and passwords, and being told why not."""

import logging
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from producer.sender import open_client
from reviewpulse.broker import SourceReader, ensure_topics
from reviewpulse.errors import RefusedError, SettingsError
from reviewpulse.settings import KafkaSettings, load
from reviewpulse.tail import follow
from tests.brokers import fresh_topics
from tests.integration.processes import Desk, wait_until
from tests.secure_broker import LEAVER, PASSWORD, SecureBroker

pytestmark = pytest.mark.skipif(not os.environ.get("KAFKA_HOME"), reason="KAFKA_HOME names no distribution to start")

NAMES = ("SASL_USERNAME", "SASL_PASSWORD")
CLIENT = ("SSL_CERTFILE", "SSL_KEYFILE")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    broker = SecureBroker(Path(os.environ["KAFKA_HOME"]), tmp_path_factory.mktemp("secure"))
    try:
        broker.format()
        broker.start()
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def desk(tmp_path: Path, broker: SecureBroker, tiny_checkpoint: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, fresh_topics(broker.address), tiny_checkpoint)
    (desk.folder / "mine.jsonl").write_text('{"text": "let me in"}\n')
    yield desk
    desk.clear()


@pytest.mark.parametrize(
    ("listener", "mechanism"), [("SASL_PLAINTEXT", "PLAIN"), ("SASL_SSL", "SCRAM-SHA-512"), ("MUTUAL", "PLAIN")]
)
def test_worker_and_publish_get_in(desk: Desk, broker: SecureBroker, listener: str, mechanism: str) -> None:
    entrance = broker.environment(listener, sasl_mechanism=mechanism)
    with desk.worker(**entrance):
        code, output = desk.run("publish", "mine.jsonl", **entrance)
        assert code == 0, output
        wait_until(lambda: desk.count("predictions") == 1, "a row")


@pytest.mark.parametrize(
    ("listener", "changes"),
    [
        *(
            (listener, {"sasl_mechanism": mechanism})
            for listener in ("SASL_PLAINTEXT", "SASL_SSL")
            for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
        ),
        ("SSL", {}),
        ("MUTUAL", {}),
        ("EXPIRING", {}),
    ],
)
def test_publisher_tail_and_admin_client_get_in_every_way(
    broker: SecureBroker, listener: str, changes: dict[str, object]
) -> None:
    kafka = load(KafkaSettings, **broker.settings(listener, **changes))
    ensure_topics(kafka)
    reader = SourceReader(kafka)
    assert reader.read().topic == "reviews"
    reader.close()
    with open_client(kafka, delivery_seconds=10) as client:
        client.send(kafka.reviews_topic, value=b"{}", key=b"key").get(10)
    records = follow(kafka, "reviews", from_beginning=True)
    assert next(records).value == b"{}"
    records.close()


REFUSALS = {
    "wrong password": ("SASL_SSL", {"sasl_password": "wrong-one"}, "the user me, or refused the password", NAMES),
    "wrong password, PLAIN in the clear": ("SASL_PLAINTEXT", {"sasl_password": "wrong-one"}, "refused the pass", NAMES),
    "wrong password, SCRAM": (
        "SASL_PLAINTEXT",
        {"sasl_mechanism": "SCRAM-SHA-256", "sasl_password": "wrong-one"},
        r"refused the password \(SCRAM-SHA-256\)",
        NAMES,
    ),
    "wrong password, longer SCRAM": (
        "SASL_SSL",
        {"sasl_mechanism": "SCRAM-SHA-512", "sasl_password": "wrong-one"},
        r"refused the password \(SCRAM-SHA-512\)",
        NAMES,
    ),
    "unknown user": ("SASL_SSL", {"sasl_username": "nobody"}, "does not know the user nobody", NAMES),
    "untrusted certificate": ("SSL", {"ssl_cafile": "STRANGER"}, "is not trusted", ("SSL_CAFILE",)),
    "certificate that the system does not know": ("SSL", {"ssl_cafile": None}, "not trusted", ("SSL_CAFILE",)),
    "certificate for another host": ("OTHER_HOST", {}, "is for another host", ("BROKER",)),
    "no client certificate": (
        "MUTUAL",
        {"ssl_certfile": None, "ssl_keyfile": None},
        "asks for a client certificate",
        CLIENT,
    ),
    "foreign client certificate": (
        "MUTUAL",
        {"ssl_certfile": "FOREIGN", "ssl_keyfile": "FOREIGN KEY"},
        "refused the client certificate",
        CLIENT,
    ),
    "plain text to TLS": ("SSL", {"security_protocol": "PLAINTEXT"}, "speaks TLS there", ("SECURITY_PROTOCOL",)),
    "plain password to TLS": (
        "SASL_SSL",
        {"security_protocol": "SASL_PLAINTEXT"},
        "speaks TLS there",
        ("SECURITY_PROTOCOL to SASL_SSL",),
    ),
    "TLS to plain text": ("SSL", {"broker": "OPEN"}, "does not speak TLS there", ("SECURITY_PROTOCOL to PLAINTEXT",)),
    "no password given": (
        "SASL_SSL",
        {"security_protocol": "SSL"},
        "wants a user name and a password",
        ("SECURITY_PROTOCOL to SASL_SSL", *NAMES),
    ),
    "password not wanted": ("SASL_PLAINTEXT", {"broker": "OPEN"}, "asks for no password", ("SECURITY_PROTOCOL",)),
}


def changed(broker: SecureBroker, changes: dict[str, object]) -> dict[str, object]:
    """Return settings with the names of things that exist only now replaced by them."""
    foreign, foreign_key = broker.foreign_client
    now = {
        "STRANGER": broker.stranger.certificate,
        "FOREIGN": foreign,
        "FOREIGN KEY": foreign_key,
        "OPEN": broker.address,
    }
    return {name: now.get(str(value), value) for name, value in changes.items()}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_named_with_its_cure_at_once(
    broker: SecureBroker, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    listener, changes, said, variables = REFUSALS[case]
    kafka = load(KafkaSettings, **broker.settings(listener, **changed(broker, changes)))
    caplog.set_level(logging.INFO)
    started = time.monotonic()

    for ask in (lambda: ensure_topics(kafka), lambda: next(follow(kafka, "reviews", from_beginning=True))):
        with pytest.raises(RefusedError, match=said) as refusal:
            ask()
        assert all(f"REVIEWPULSE_{name}" in str(refusal.value) for name in variables)
        assert "wrong-one" not in str(refusal.value) + caplog.text
        assert PASSWORD not in str(refusal.value) + caplog.text
    assert time.monotonic() - started < 5


def test_a_missing_password_is_asked_for_by_its_setting(broker: SecureBroker) -> None:
    with pytest.raises(SettingsError, match="needs REVIEWPULSE_SASL_USERNAME and REVIEWPULSE_SASL_PASSWORD"):
        ensure_topics(load(KafkaSettings, **broker.settings("SASL_SSL", sasl_password=None)))


@pytest.mark.parametrize(
    ("case", "commands"),
    [
        ("wrong password", (("publish", "mine.jsonl"), ("work",), ("tail",))),
        ("no client certificate", (("work",),)),
    ],
)
def test_each_command_ends_with_the_reason(
    desk: Desk, broker: SecureBroker, case: str, commands: tuple[tuple[str, ...], ...]
) -> None:
    listener, changes, said, _ = REFUSALS[case]
    environment = broker.environment(listener, **changed(broker, changes))
    for command in commands:
        code, output = desk.run("--verbose", *command, **environment)
        assert code == 1, output
        assert re.search(f"^error: .*{said}", output, re.MULTILINE), output
        assert "Traceback" not in output
        assert "wrong-one" not in output


def test_a_worker_whose_password_is_taken_away_says_so_and_ends(desk: Desk, broker: SecureBroker) -> None:
    leaver = broker.environment("EXPIRING", sasl_mechanism="SCRAM-SHA-256", sasl_username=LEAVER)
    worker = desk.start("work", **leaver, REVIEWPULSE_RETRY_SECONDS="2", REVIEWPULSE_CONNECT_SECONDS="2")
    wait_until(lambda: desk.is_reading(worker), "the worker reads")
    desk.send(b'{"text": "before"}')
    wait_until(lambda: desk.count("predictions") == 1, "a row")

    broker.forget_leaver()

    assert worker.wait(60) == 1, desk.output_of(worker)
    output = desk.output_of(worker)
    assert "outage: " in output, output
    assert re.search("^error: .*refused the password", output, re.MULTILINE), output
    assert PASSWORD not in output

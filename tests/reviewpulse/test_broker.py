import socket
import time

import pytest

from reviewpulse.broker import SourceReader, client_options, connect_admin, ensure_topics
from reviewpulse.embedded import EmbeddedBroker
from reviewpulse.errors import BrokerError
from reviewpulse.settings import KafkaSettings, load


def test_no_kafka_is_an_error_that_names_the_address_and_the_cure() -> None:
    with pytest.raises(
        BrokerError, match=r"127\.0\.0\.1:1 \(nobody listens there\).*reviewpulse broker.*REVIEWPULSE_BROKER"
    ):
        ensure_topics(load(KafkaSettings, broker="127.0.0.1:1", connect_seconds=0.3))


@pytest.mark.parametrize("host", ["kafka.example.invalid", "kafka..example"])
def test_a_host_name_that_is_not_known_is_named_as_such(host: str) -> None:
    """It said that nobody listens there."""
    with pytest.raises(BrokerError, match=rf"no Kafka answers at {host}:9092 \(that host name is not known here\); "):
        ensure_topics(load(KafkaSettings, broker=f"{host}:9092", connect_seconds=0.3))


def test_topics_are_made_once_with_the_configured_partitions() -> None:
    with EmbeddedBroker() as broker:
        kafka = load(KafkaSettings, broker=broker.address, partitions=3)
        ensure_topics(kafka)
        ensure_topics(kafka)

        client = connect_admin(kafka)
        counts = [len(topic["partitions"]) for topic in client.describe_topics(list(kafka.topics))]
        client.close()

    assert counts == [3, 3, 3]


def test_a_topic_made_anew_and_a_broker_started_anew_are_other_sources() -> None:
    seen = []
    for _ in range(2):
        with EmbeddedBroker() as broker:
            kafka = load(KafkaSettings, broker=broker.address)
            ensure_topics(kafka)
            reader = SourceReader(kafka)
            seen.append(reader.read())
            assert reader.read() == seen[-1]
            client = connect_admin(kafka)
            client.delete_topics([kafka.reviews_topic])
            client.close()
            ensure_topics(kafka)
            seen.append(reader.read())
            reader.close()

    assert len(set(seen)) == 4
    assert seen[0].cluster_id == seen[1].cluster_id


def test_a_missing_topic_is_an_error() -> None:
    with EmbeddedBroker() as broker:
        reader = SourceReader(load(KafkaSettings, broker=broker.address))
        with pytest.raises(BrokerError, match=r"topic reviews .* is missing"):
            reader.read()
        reader.close()


def test_the_embedded_broker_listens_on_loopback_only_and_ends_at_once() -> None:
    with EmbeddedBroker() as broker:
        with socket.socket() as probe, pytest.raises(OSError, match="in use"):
            probe.bind(("127.0.0.1", broker.port))
        with socket.socket() as elsewhere:
            elsewhere.bind(("127.0.0.2", broker.port))
        started = time.monotonic()
    assert time.monotonic() - started < 1
    assert not broker.is_running


def test_a_taken_port_names_the_cure() -> None:
    with EmbeddedBroker() as broker, pytest.raises(BrokerError, match="--port"), EmbeddedBroker(broker.port):
        pass


def test_sasl_and_tls_settings_reach_the_client() -> None:
    kafka = load(
        KafkaSettings,
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username="me",
        sasl_password="secret",
    )

    options = client_options(kafka)

    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_SSL", "SCRAM-SHA-256")
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("me", "secret")
    assert options["ssl_context"].check_hostname
    assert "secret" not in repr(kafka)


def test_an_unreadable_certificate_file_names_the_setting() -> None:
    with pytest.raises(BrokerError, match="SSL_CAFILE"):
        client_options(load(KafkaSettings, security_protocol="SSL", ssl_cafile="missing.pem"))

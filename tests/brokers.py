"""An Apache Kafka to test against: from a distribution's folder, or in a container."""

import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from reviewpulse import child
from reviewpulse.broker import ensure_topics
from reviewpulse.embedded import free_port
from reviewpulse.errors import BrokerError
from reviewpulse.settings import KafkaSettings, load

START_SECONDS = 60.0


class DistributionBroker:
    """One Apache Kafka node (broker and controller) of an unpacked distribution, on loopback, with its own data."""

    def __init__(self, home: Path, folder: Path, number: int = 1, controllers: Mapping[int, int] | None = None) -> None:
        """Prepare a node; of a cluster, its number and the controllers' ports by number."""
        self._home = home
        self._log = folder / "kafka.log"
        self._properties = folder / "server.properties"
        self.data = folder / "data"
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        folder.mkdir(parents=True, exist_ok=True)
        self._properties.write_text(_properties(self.port, number, controllers or {number: free_port()}, self.data))
        self._process: subprocess.Popen[bytes] | None = None

    def format(self, *arguments: str, cluster_id: str | None = None) -> None:
        """Prepare the data folder, once; more arguments are those of kafka-storage.sh."""
        script = str(self._home / "bin" / "kafka-storage.sh")
        command = [script, "format", "-t", cluster_id or random_id(self._home), "-c", str(self._properties), *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        """Start the node and wait until it answers."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start the node; a cluster's nodes are up only once most of them are begun."""
        with self._log.open("ab") as output:
            self._process = child.start(
                [str(self._home / "bin" / "kafka-server-start.sh"), str(self._properties)], output=output
            )

    def wait(self) -> None:
        """Wait until the node answers; raises BrokerError with the end of its log when it does not."""
        deadline = time.monotonic() + START_SECONDS
        while not re.search("Kafka Server started", self._log.read_text(errors="replace")):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise BrokerError(f"Apache Kafka did not start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End the node at once, as a power cut does; it can be started again with what it kept."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._log.unlink()

    def stop(self) -> None:
        """Stop the node."""
        if self._process is not None:
            child.stop(self._process, term_seconds=20)


def random_id(home: Path) -> str:
    """Return a cluster id that no other cluster has."""
    script = str(home / "bin" / "kafka-storage.sh")
    return subprocess.run([script, "random-uuid"], check=True, capture_output=True, text=True).stdout.strip()


def _properties(port: int, number: int, controllers: Mapping[int, int], data: Path) -> str:
    """Return the configuration of a KRaft node that starts quickly and keeps little."""
    copies = min(3, len(controllers))
    lines = {
        "process.roles": "broker,controller",
        "node.id": number,
        "controller.quorum.voters": ",".join(f"{node}@127.0.0.1:{at}" for node, at in controllers.items()),
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controllers[number]}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        "num.partitions": 4,  # of a topic that a client asks for while it is deleted: as many as we make
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": copies,
        "min.insync.replicas": max(copies - 1, 1),
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
        "delete.topic.enable": "true",
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def fresh_topics(address: str) -> KafkaSettings:
    """Return settings whose three topics are new."""
    name = uuid.uuid4().hex[:8]
    return load(
        KafkaSettings,
        broker=address,
        reviews_topic=f"reviews-{name}",
        predictions_topic=f"predictions-{name}",
        rejected_topic=f"rejected-{name}",
    )


def kafka_home() -> Path:
    """Return the folder of an Apache Kafka that a test may stop and start; skips the test where there is none."""
    home = os.environ.get("KAFKA_HOME")
    if not home:
        pytest.skip("KAFKA_HOME names no distribution of Apache Kafka")
    return Path(home)


@contextmanager
def apache_kafka(folder: Path) -> Iterator[str]:
    """Run Apache Kafka and yield its address; skips the test where there is neither KAFKA_HOME nor Docker."""
    home = os.environ.get("KAFKA_HOME")
    if home:
        broker = DistributionBroker(Path(home), folder)
        try:
            broker.format()
            broker.start()
            yield broker.address
        finally:
            broker.stop()
    else:
        with _container() as address:
            yield address


@contextmanager
def _container() -> Iterator[str]:
    import docker
    from testcontainers.community.kafka import KafkaContainer

    try:
        docker.from_env().ping()
    except docker.errors.DockerException as exc:
        pytest.skip(f"no Apache Kafka: KAFKA_HOME names no distribution and no Docker engine answers ({exc})")
    with KafkaContainer().with_kraft() as container:
        address = container.get_bootstrap_server()
        ensure_topics(load(KafkaSettings, broker=address))
        yield address

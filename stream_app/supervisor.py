"""Several worker processes in one consumer group: started together, stopped together."""

import logging
import signal
import subprocess
import time
from collections.abc import Sequence
from types import FrameType

from reviewpulse import child

log = logging.getLogger(__name__)

STOP_SECONDS = 20.0
"""How long the workers have for the batch in flight before they are killed."""


def run_workers(command: Sequence[str], workers: int) -> int:
    """Run a command so many times until SIGTERM or SIGINT, or until one of them ends, and stop them all.

    Returns 0 after an orderly stop, else the exit code of the worker that ended by itself.
    """
    is_told_to_stop = False

    def tell(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_told_to_stop
        is_told_to_stop = True

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    children = [child.start(command) for _ in range(workers)]
    log.info("started %d workers: processes %s", workers, ", ".join(str(process.pid) for process in children))
    try:
        while not is_told_to_stop and all(process.poll() is None for process in children):
            time.sleep(0.1)
        failed = [process for process in children if process.poll()]
    finally:
        _stop_all(children)
        for number, handler in before.items():
            signal.signal(number, handler)
    if is_told_to_stop:
        return max(abs(int(process.returncode)) for process in children)
    for process in failed:
        log.error("worker process %d ended with exit code %d; stopped the others", process.pid, process.returncode)
    return int(failed[0].returncode) if failed else 1


def _stop_all(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in children:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in children:
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            log.error("worker process %d did not stop within %g s; killed it", process.pid, STOP_SECONDS)
            child.stop(process, term_seconds=0)

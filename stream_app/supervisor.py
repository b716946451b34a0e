"""Several worker processes in one consumer group: started together, stopped together."""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from reviewpulse import child

ORDERLY = (0, -signal.SIGTERM)
"""Exit codes of a worker that was told to stop; the second, before it had begun to listen."""

log = logging.getLogger(__name__)

STOP_SECONDS = 30.0
"""How long the workers have for the batch in flight before they are killed."""


def run_workers(command: Sequence[str], settings: Sequence[Mapping[str, str]]) -> int:
    """Run a command once for each of these sets of variables, until SIGTERM or SIGINT or until one ends; stop them all.

    Returns 0 after an orderly stop, 1 when a worker ended by itself or had to be killed.
    """
    is_told_to_stop = False

    def tell(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_told_to_stop
        is_told_to_stop = True

    before = {number: signal.signal(number, tell) for number in (signal.SIGTERM, signal.SIGINT)}
    children: list[subprocess.Popen[bytes]] = []
    try:
        children += (child.start(command, environment=os.environ | dict(own)) for own in settings)
        log.info("started %d workers: processes %s", len(children), ", ".join(str(process.pid) for process in children))
        while not is_told_to_stop and all(process.poll() is None for process in children):
            time.sleep(0.1)
        ended = [process for process in children if process.poll() is not None]
    finally:
        _stop_all(children)
        for number, handler in before.items():
            signal.signal(number, handler)
    if is_told_to_stop:
        return 0 if all(process.returncode in ORDERLY for process in children) else 1
    for process in ended:
        log.error("worker process %d ended with exit code %d; stopped the others", process.pid, process.returncode)
    return 1


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

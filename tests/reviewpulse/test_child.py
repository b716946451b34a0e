import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from reviewpulse import child

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]


def test_a_child_that_hears_is_stopped_by_term() -> None:
    assert child.stop(child.start(SLEEPER), term_seconds=10) == -signal.SIGTERM


def test_a_child_that_is_deaf_is_killed(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as output:
        process = child.start(DEAF, output=output)
    while "deaf" not in (tmp_path / "out").read_text():
        time.sleep(0.02)

    assert child.stop(process, term_seconds=0.3) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_child_dies_with_a_killed_parent() -> None:
    program = (
        "import sys, time; from reviewpulse import child;"
        f"print(child.start({SLEEPER!r}).pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.stdout.close()

    parent.kill()
    parent.wait()

    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.02)

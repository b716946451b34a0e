"""Runs the dashboard in a process of its own, for tests."""

import os
import re
import signal
import subprocess
import sys
import threading

_CODE = """
import logging, sys
from dashboard.server import serve
from reviewpulse.settings import AccessSettings, DashboardSettings, load
logging.basicConfig(level=logging.INFO)
settings = DashboardSettings(port=int(sys.argv[2]), refresh_seconds=float(sys.argv[3]))
serve(settings, sys.argv[1], load(AccessSettings))
"""


class DashboardProcess:
    """A dashboard that listens by the time this is made."""

    def __init__(self, store_url: str, port: int = 0, refresh_seconds: float = 0.5, **environment: str) -> None:
        """Start it; the environment holds more settings."""
        arguments = [store_url, str(port), str(refresh_seconds)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CODE, *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env=os.environ | environment,
        )
        self.log: list[str] = []
        self.address = self._wait_for_address()
        self.port = int(self.address.rpartition(":")[2])
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def end(self, number: int) -> int:
        """Send a signal, return the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self._close()
        return code

    def pause(self) -> None:
        """Let it hang."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the hang."""
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; may be called again."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=20)
        self._close()

    def _wait_for_address(self) -> str:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"dashboard: (http://\S+)", line):
                return found[1]
        self.process.wait(timeout=20)
        raise AssertionError(f"the dashboard did not start: {''.join(self.log)}")

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def _close(self) -> None:
        self._reader.join(timeout=20)
        assert self.process.stderr is not None
        self.process.stderr.close()

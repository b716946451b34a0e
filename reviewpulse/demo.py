"""The demo: embedded broker, worker, dashboard and a replay as child processes, and an orderly end."""

import http.client
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import sqlalchemy as sa
from rich.console import Console

from reviewpulse import child
from reviewpulse.broker import answers
from reviewpulse.embedded import EmbeddedBroker, free_port
from reviewpulse.errors import ReviewpulseError, StoreError
from reviewpulse.files import check_file
from reviewpulse.schema import connect, offsets, predictions, sources
from reviewpulse.settings import DashboardSettings
from reviewpulse.stopping import Stop, stop_on_signals
from reviewpulse.store_url import parse_store_url, store_name

SAMPLE_RATE: Final = 20.0
"""Reviews a second of the bundled sample, so that there is something to watch."""

LOG_FOLDER: Final = Path("demo-logs")
DRAIN_SECONDS: Final = 10.0
"""How long the worker has, after Ctrl-C, to score what was published: the broker forgets it afterwards."""
STOP_SECONDS: Final = 30.0
URGENT_SECONDS: Final = 1.0
"""How long a part has to stop, and how long after a second Ctrl-C."""


SETTLE_SECONDS: Final = 1.5
"""How old the store's view of the topic may be at most: the worker renews it every second."""


class Progress(NamedTuple):
    """How far the demo's own topic is stored: reviews scored, records not read yet, and when that was so."""

    scored: int
    lag: int
    as_of: float
    """Seconds since 1970; the oldest of the partitions' times."""


def run_demo(
    files: Sequence[Path], rate_per_second: float | None, dashboard: DashboardSettings, store: str, console: Console
) -> None:
    """Run everything until Ctrl-C (or until a part fails), then stop it and say what was scored.

    Raises ReviewpulseError when a part does not start or ends by itself.
    """
    for path in files:
        check_file(path)
    if dashboard.port and answers(f"{dashboard.host}:{dashboard.port}"):
        raise ReviewpulseError(
            f"port {dashboard.port} of {dashboard.host} is taken; "
            "set REVIEWPULSE_PORT to another, or to 0 for a free one"
        )
    with stop_on_signals() as stop, EmbeddedBroker() as broker:
        demo = _Demo(broker, dashboard, store, console)
        try:
            demo.start(_replay(files, rate_per_second))
            demo.watch(stop)
        finally:
            demo.finish(stop)


def _replay(files: Sequence[Path], rate_per_second: float | None) -> list[str]:
    """Return the publish command's arguments: the sample at a gentle rate for ever, a file once."""
    if files:
        paced = [] if rate_per_second is None else ["--rate", str(rate_per_second)]
        return ["publish", *map(str, files), *paced]
    return ["publish", "--loop", "--rate", str(rate_per_second or SAMPLE_RATE)]


class _Demo:
    """The parts that run, and what the store says of them."""

    def __init__(self, broker: EmbeddedBroker, dashboard: DashboardSettings, store: str, console: Console) -> None:
        self._port = dashboard.port or free_port()
        self._address = f"http://{dashboard.host}:{self._port}"
        self._cluster_id = broker.cluster_id
        self._store = store
        self._store_name = store_name(parse_store_url(store))
        self._console = console
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._environment = os.environ | {
            "REVIEWPULSE_BROKER": broker.address,
            "REVIEWPULSE_SECURITY_PROTOCOL": "PLAINTEXT",
            "REVIEWPULSE_STORE": store,
        }
        self._started = time.monotonic()

    def start(self, replay: list[str]) -> None:
        """Start worker, dashboard and replay."""
        LOG_FOLDER.mkdir(exist_ok=True)
        self._start("worker", ["work"])
        self._start("dashboard", ["dashboard", "--port", str(self._port)])
        self._start("replay", replay)

    def watch(self, stop: Stop) -> None:
        """Say what happens until someone asks to stop; raises ReviewpulseError when a part ends by itself."""
        is_shown = is_scoring = False
        while not stop.is_requested:
            time.sleep(0.2)
            self._check_parts()
            if not is_shown and self._dashboard_answers():
                is_shown = True
                self._console.print(f"dashboard: {self._address}   (Ctrl-C stops everything)")
            progress = self._progress()
            if is_shown and not is_scoring and progress and progress.scored:
                is_scoring = True
                seconds = time.monotonic() - self._started
                self._console.print(f"first prediction on the page {seconds:.1f} s after the start")

    def finish(self, stop: Stop) -> None:
        """Stop the replay, let the worker catch up, stop the rest, and say what was scored."""
        self._console.print("stopping ...")
        try:
            self._stop("replay", stop)
            self._drain(stop)
        finally:
            for name in ("worker", "dashboard"):
                self._stop(name, stop)
        progress = self._progress()
        if progress is None:
            self._console.print(f"nothing was scored: there is no store at {self._store_name} that can be read")
            return
        self._console.print(f"{progress.scored:,} reviews scored in this demo; they lie in {self._store_name}")
        if progress.lag:
            self._console.print(f"{progress.lag:,} reviews were not scored yet and went with the embedded broker")

    def _drain(self, stop: Stop) -> None:
        """Wait until the worker has stored all that the replay published, if it does so soon."""
        published_at = time.time()
        deadline = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline and not stop.is_urgent and self._is_running("worker"):
            progress = self._progress()
            if progress and progress.lag == 0 and progress.as_of > published_at + SETTLE_SECONDS:
                return
            time.sleep(0.2)

    def _start(self, name: str, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "reviewpulse", *arguments]
        with (LOG_FOLDER / f"{name}.log").open("wb") as output:
            self._parts[name] = child.start(command, environment=self._environment, output=output)

    def _stop(self, name: str, stop: Stop) -> None:
        if name in self._parts:
            child.stop(self._parts[name], term_seconds=URGENT_SECONDS if stop.is_urgent else STOP_SECONDS)

    def _is_running(self, name: str) -> bool:
        return name in self._parts and self._parts[name].poll() is None

    def _check_parts(self) -> None:
        """Tell of a replay that is through; raises ReviewpulseError when another part, or a failed replay, ended."""
        for name, process in list(self._parts.items()):
            code = process.poll()
            if code is None:
                continue
            log_file = LOG_FOLDER / f"{name}.log"
            said = log_file.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            if code or name != "replay":
                raise ReviewpulseError(f"the {name} ended with exit code {code}: {said[-1]} (see {log_file})")
            del self._parts[name]
            for line in said:
                if not line.startswith("publish:"):  # its progress
                    self._console.print(f"replay: {line}", markup=False)

    def _dashboard_answers(self) -> bool:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by way of a proxy
        try:
            direct.open(self._address, timeout=1).close()
        except urllib.error.HTTPError as answer:  # it asks for the token
            answer.close()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _progress(self) -> Progress | None:
        """Return how far this demo's broker is stored, None while there is no store that can be read."""
        mine = sa.select(sources.c.source_id).where(sources.c.cluster_id == self._cluster_id).scalar_subquery()
        scored = sa.select(sa.func.count()).select_from(predictions).where(predictions.c.source_id == mine)
        reached = sa.select(
            sa.func.sum(offsets.c.high_watermark - offsets.c.next_offset), sa.func.min(offsets.c.updated_at_ms)
        ).where(offsets.c.source_id == mine)
        try:
            engine = connect(self._store, writable=False)
        except StoreError:
            return None
        try:
            with engine.connect() as connection:
                lag, as_of_ms = connection.execute(reached).one()
                return Progress(connection.scalar(scored) or 0, lag or 0, (as_of_ms or 0) / 1000)
        except sa.exc.SQLAlchemyError:
            return None
        finally:
            engine.dispose()

"""A PostgreSQL server to test against: one cluster in a temporary folder, on loopback, gone afterwards."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from reviewpulse import child
from reviewpulse.embedded import free_port

START_SECONDS = 60.0
PASSWORD = "hush-hush"
"""Of the user postgres: no message may show it."""

SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=60")
"""Quick rather than safe: what a test wrote need not outlive a power cut."""


class PostgresServer:
    """One PostgreSQL node. The server refuses to run as root, so that root runs it as the user nobody."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._folder = folder
        self._log = folder / "postgres.log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def make_cluster(self) -> None:
        """Make the cluster's data folder, once."""
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self._folder, password):
                shutil.chown(path, "nobody")
        options = ["--username", "postgres", "--pwfile", str(password), "--auth", "scram-sha-256", "--no-sync"]
        command = self._command("initdb", "--pgdata", self._data, "--locale", "C", "--encoding", "UTF8", *options)
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        listen = ["-D", self._data, "-h", "127.0.0.1", "-p", str(self._port), "-k", str(self._folder)]
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        with self._log.open("ab") as output:
            self._process = child.start(self._command("postgres", *listen, *settings), output=output)
        deadline = time.monotonic() + START_SECONDS
        while "ready to accept connections" not in self._log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once, whoever is connected."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # SIGTERM would wait for the clients
            self._process.wait(START_SECONDS)

    def url(self, database: str) -> sa.URL:
        """Return the URL of a database, with its password."""
        return sa.URL.create("postgresql+psycopg", "postgres", PASSWORD, "127.0.0.1", self._port, database)

    def new_database(self) -> str:
        """Make an empty database and return its URL as REVIEWPULSE_STORE takes it."""
        name = f"store_{uuid.uuid4().hex[:8]}"
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self.url(name).render_as_string(hide_password=False)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _command(self, program: str, *arguments: str) -> list[str]:
        prefix: Sequence[str] = ()
        if os.geteuid() == 0:  # a process that changes its user must ask anew to die with its parent
            user = pwd.getpwnam("nobody")
            ids = ("--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups")
            prefix = ("setpriv", *ids, "--pdeathsig", "QUIT")
        return [*prefix, str(self._binaries / program), *arguments]


@contextmanager
def postgres() -> Iterator[PostgresServer]:
    """Run PostgreSQL; skips the test where it or its driver is not installed."""
    pytest.importorskip("psycopg", reason="no PostgreSQL: the extra 'postgres' (psycopg) is not installed")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL: initdb is neither on the PATH nor in /usr/lib/postgresql")
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:  # a socket's path must be short
        server = PostgresServer(binaries, Path(name))
        try:
            server.make_cluster()
            server.start()
            yield server
        finally:
            server.stop()


def _binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps them off the PATH, one folder a version."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).resolve().parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None

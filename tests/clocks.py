"""A wall clock that a test makes jump, by libfaketime (Debian's package faketime)."""

from pathlib import Path

_FOUND = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
MISSING = "" if _FOUND else "no libfaketime: apt-get install faketime"
"""Why there is no such clock on this machine; empty where there is."""


class JumpingClock:
    """The wall clock of the processes that are started with its settings; their monotonic clock goes on as it is."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "clock"
        self.settings = {
            "LD_PRELOAD": str(_FOUND[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        """Environment variables for such a process."""
        self.jump(0)

    def jump(self, seconds: int) -> None:
        """Let the clock be so many seconds ahead of the true time."""
        self._file.write_text(f"{seconds:+d}\n")

"""How a running worker notices that the registry has another champion."""

from pathlib import Path

from reviewpulse.registry import Registry


class ChampionWatch:
    """Tells a running worker of a new champion, for the price of one stat a call while there is none."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._stamp: tuple[int, int, int] | None = None
        self._folder: Path | None = None

    def changed(self) -> Path | None:
        """Return the champion's folder at the first call and once after each change to another, else None.

        The history only grows, so the file's size tells changes apart even within one tick of the
        clock and where the new file gets the old one's inode. Raises as `Registry.champion_path`
        at each call until it is mended.
        """
        try:
            status = self._registry.file.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:  # no file yet; if it is there and cannot be read, champion_path says so
            stamp = None
        if stamp and stamp == self._stamp:
            return None
        folder = self._registry.champion_path()
        is_new = folder is not None and folder != self._folder
        self._stamp, self._folder = stamp, folder or self._folder
        return folder if is_new else None

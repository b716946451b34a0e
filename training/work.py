"""The folder that a training works in, beside the checkpoint folder that it will become."""

import contextlib
import fcntl
import shutil
from pathlib import Path
from typing import Final, Self

import msgspec

from reviewpulse.durable import sync
from reviewpulse.errors import TrainingError
from training.plan import Plan
from training.resume import BEST, SNAPSHOT

LOCK: Final = ".lock"


class _Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What plan.json holds: all that an unfinished training must have in common with one that goes on with it."""

    plan: Plan
    data_sha256: str
    teacher_sha256: str | None


class Work:
    """`NAME.training` beside the folder to make: corpus, snapshots, the unfinished checkpoint.

    Left by an error, it removes the folder unless a training can go on from what is in it.
    """

    def __init__(self, into: Path) -> None:
        if into.exists():
            raise TrainingError(f"{into} exists already; name another folder by --into, or remove it first")
        self.into = into
        self.folder = into.with_name(f"{into.name}.training")
        self.corpus_file = self.folder / "corpus.db"
        self.unfinished = self.folder / "checkpoint"
        self._plan_file = self.folder / "plan.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / LOCK).open("a")
            self._take_lock()
            self.corpus_file.unlink(missing_ok=True)
        except OSError as exc:
            raise TrainingError(f"cannot work in {self.folder}: {exc.strerror or exc}; name another --into") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_error: object) -> None:
        if error_type is not None and not self._has_progress:
            self._remove()
        self._lock.close()

    def _take_lock(self) -> None:
        """Keep other trainings out until this one ends, however it ends."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            self._lock.close()
            raise TrainingError(
                f"another training works in {self.folder}; wait for it, or name another folder by --into"
            ) from exc

    @property
    def _has_progress(self) -> bool:
        return any((self.folder / name).exists() for name in (SNAPSHOT, BEST))

    def _remove(self) -> None:
        """Remove what a training leaves before its first snapshot, and the folder if nothing else is in it."""
        with contextlib.suppress(OSError):
            for path in (self.corpus_file, self._plan_file, self.folder / LOCK, *self.folder.glob("*.part")):
                path.unlink(missing_ok=True)
            self.folder.rmdir()

    def claim(self, plan: Plan, data_sha256: str, teacher_sha256: str | None) -> None:
        """Take the folder for this plan on these reviews with this teacher.

        Raises TrainingError when it holds another training that can go on.
        """
        path = self._plan_file
        mine = _Origin(plan=plan, data_sha256=data_sha256, teacher_sha256=teacher_sha256)
        if self._has_progress and path.exists() and _origin(path) != mine:
            raise TrainingError(
                f"{self.folder} holds an unfinished training with other options or other reviews; "
                "give the same ones to go on with it, or remove the folder"
            )
        part = path.with_suffix(".part")
        try:
            part.write_bytes(msgspec.json.format(msgspec.json.encode(mine), indent=2))
            part.replace(path)
        except OSError as exc:
            raise TrainingError(f"cannot write {path} ({exc.strerror or exc}); make room there") from exc

    def finish(self) -> None:
        """Turn the unfinished checkpoint into the folder to make, whole at once, and remove the rest."""
        for path in self.unfinished.iterdir():
            sync(path)
        self.unfinished.rename(self.into)
        shutil.rmtree(self.folder)


def _origin(path: Path) -> _Origin | None:
    """Return what plan.json holds, None for another version's; options that it lacks are the defaults."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Origin)
    except msgspec.DecodeError:
        return None

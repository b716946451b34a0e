"""Checkpoint versions side by side on disk, one of them the champion: the one that scores the stream.

A registry folder holds `NAME-VERSION/`, a whole checkpoint that never changes again, for each version, and
`registry.json`: every promotion and rollback in turn, the last of which names the champion. It is one file,
written aside and renamed over the old one, so a process killed at any moment leaves the old or the new champion.
A pointer and a history in two files would take two steps, and a kill between them would leave a champion that no
history tells of. Writers take turns by a lock file; readers need no lock and no right to write.
"""

import fcntl
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from reviewpulse.card import CARD_FILE, Card, find_checkpoint, read_card
from reviewpulse.durable import copy_folder, sync
from reviewpulse.errors import RegistryError, ReviewpulseError
from reviewpulse.records import NOT_JSON

REGISTRY_FILE: Final = "registry.json"
LOCK_FILE: Final = ".lock"
_PART: Final = ".part"
_ID: Final = r"\A\w[^/\\\x00-\x1f\x7f\ud800-\udfff]*\Z"  # the name of one visible folder

log = logging.getLogger(__name__)


class Change(msgspec.Struct, frozen=True):
    """One promotion or rollback: the version is the champion from then on, previous (None at first) was it before."""

    changed_at: Annotated[datetime, msgspec.Meta(tz=True)]
    version: Annotated[str, msgspec.Meta(pattern=_ID)]
    previous: str | None
    action: Literal["promote", "rollback"]
    evidence: str
    is_forced: bool


class Version(msgspec.Struct, frozen=True):
    """A checkpoint in the registry; its id is the card's name and version with a dash between, and names its folder."""

    version: str
    card: Card
    is_champion: bool


class _State(msgspec.Struct, frozen=True):
    history: tuple[Change, ...]


CHAMPION: Final = "champion"
"""What commands call the registry's champion where they take a checkpoint."""


class Registry:
    """The versions in a folder, which the first `add` makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / REGISTRY_FILE

    def add(self, checkpoint: Path) -> str:
        """Copy a checkpoint folder in, whole or not at all, and return its version id; it is not yet the champion.

        Raises CheckpointError when it has no fitting card, RegistryError when the version is there
        already, a link in it leads elsewhere, or the disk refuses.
        """
        version = _id_of(read_card(checkpoint))
        if not re.search(_ID, version):
            raise RegistryError(f"'{version}' cannot name a folder; change name or version in {checkpoint / CARD_FILE}")
        if self.folder.resolve().is_relative_to(checkpoint.resolve()):
            raise RegistryError(f"{self.folder} lies in {checkpoint}, so it cannot hold a copy; name another folder")
        _refuse_links_elsewhere(checkpoint)
        with self._writing():
            if (self.folder / version).exists():
                raise RegistryError(f"{self.folder} holds {version} already; a version never changes, so train another")
            self._copy_in(checkpoint, version)
        return version

    def versions(self) -> list[Version]:
        """Return the versions, oldest training first; one that does not fit is left out with a logged warning."""
        champion, fitting = self.champion(), []
        for version in self._ids():
            try:
                fitting.append(Version(version, self.card(version), version == champion))
            except ReviewpulseError as exc:
                log.warning("version %s is left out: %s", version, exc)
        return sorted(fitting, key=lambda each: (each.card.trained_at, each.version))

    def card(self, version: str) -> Card:
        """Return a version's card; raises as `path`, and CheckpointError when the card does not fit."""
        card = read_card(self.path(version))
        if _id_of(card) != version:
            raise RegistryError(f"{self.folder / version} holds {_id_of(card)}; give the folder its own name again")
        return card

    def name(self, version: str) -> str | None:
        """Return the name of a version's checkpoint, None when the version is gone or no longer fits."""
        try:
            return self.card(version).name
        except ReviewpulseError:
            return None

    def path(self, version: str) -> Path:
        """Return a version's folder; raises RegistryError, with the known ids, when there is none."""
        known = self._ids()
        if version not in known:
            names = ", ".join(known) or "none"
            raise RegistryError(f"there is no version '{version}' in {self.folder} (there is: {names})")
        return self.folder / version

    def champion(self) -> str | None:
        """Return the champion's version id, or None before the first promotion; raises as `history`."""
        history = self.history()
        return history[-1].version if history else None

    def champion_path(self) -> Path | None:
        """Return the champion's folder, or None before the first promotion; raises as `history` and `path`."""
        champion = self.champion()
        return None if champion is None else self.path(champion)

    def promote(
        self,
        version: str,
        *,
        now: datetime,
        evidence: str,
        is_forced: bool,
        judged_after: int | None = None,
        bundled: Path | None = None,
    ) -> None:
        """Make a version the champion; evidence says why, is_forced that it was done against the evidence.

        judged_after is how many changes the history held when the evidence was gathered, None for evidence
        that speaks of no champion. bundled is the checkpoint that was in use before the first promotion: that one
        adds it and notes it as the champion before, so that it can be rolled back to. Raises RegistryError for an
        unknown id, for the present champion, when the history has grown since and when the disk refuses,
        CheckpointError when the version does not fit.
        """
        self.card(version)
        with self._writing():
            previous, changes = self.champion(), len(self.history())
            if judged_after not in (None, changes):
                raise RegistryError(f"{previous} became the champion while {version} was judged; promote it again")
            if version == previous:
                raise RegistryError(f"{version} is the champion of {self.folder} already; promote another")
            moment, first = now.astimezone(UTC), list[Change]()
            if bundled and not changes and (brought := self._bring(bundled)) != version:
                first.append(Change(moment, brought, None, "promote", "bundled with reviewpulse", is_forced=False))
                previous = brought
            self._append(*first, Change(moment, version, previous, "promote", evidence, is_forced))

    def rollback(self, *, now: datetime) -> str:
        """Make the champion before the present one champion again and return its id; once more goes further back.

        A version that is gone or no longer fits is passed over, and the history's evidence says so.
        Raises RegistryError when there is none to go back to or the disk refuses.
        """
        if self.champion() is None:
            raise RegistryError(f"{self.folder} has no champion to roll back; promote a version first")
        with self._writing():
            history = self.history()
            champion, faults = history[-1].version, list[str]()
            for version in reversed(_standing(history)[:-1]):
                try:
                    self.card(version)
                except ReviewpulseError as exc:
                    faults.append(f"{version} passed over: {exc}")
                else:
                    self._append(
                        Change(now.astimezone(UTC), version, champion, "rollback", "; ".join(faults), is_forced=False)
                    )
                    return version
        why = "; ".join([f"{self.folder} has no champion before {champion} to go back to", *faults])
        raise RegistryError(f"{why}; promote another")

    def history(self) -> list[Change]:
        """Return all promotions and rollbacks, oldest first; raises RegistryError when they cannot be read."""
        try:
            return list(msgspec.json.decode(self.file.read_bytes(), type=_State).history)
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise RegistryError(f"cannot read {self.file} ({exc.strerror}); let this user read it") from exc
        except NOT_JSON as exc:
            raise RegistryError(
                f"{self.file} is damaged ({exc}); bring back a copy of it, "
                "or remove it and promote a version anew: the versions stay, their history is lost"
            ) from exc

    def _ids(self) -> list[str]:
        try:
            folders = [path for path in self.folder.iterdir() if re.search(_ID, path.name)]
            return sorted(path.name for path in folders if (path / CARD_FILE).is_file())
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise RegistryError(f"cannot read {exc.filename} ({exc.strerror}); let this user read it") from exc

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock, which a killed process lets go; raises RegistryError for what the disk refuses."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / LOCK_FILE).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as exc:
            raise RegistryError(f"cannot write {self.folder} ({exc}); is there room, may you write there?") from exc

    def _bring(self, bundled: Path) -> str:
        """Return a bundled checkpoint's version id, copied in if it was not; only while the lock is held."""
        version = _id_of(read_card(bundled))
        if not (self.folder / version).exists():
            self._copy_in(bundled, version)
        return version

    def _copy_in(self, checkpoint: Path, version: str) -> None:
        """Copy a checkpoint folder in, whole or not at all; only while the lock is held."""
        for part in self.folder.glob(f".*-*{_PART}"):  # left by a process that was killed
            shutil.rmtree(part)
        part = self.folder / f".{version}{_PART}"
        copy_folder(checkpoint, part)
        part.rename(self.folder / version)
        sync(self.folder)

    def _append(self, *changes: Change) -> None:
        """Write the history with more changes; only while the lock is held."""
        history = msgspec.json.encode(_State((*self.history(), *changes)))
        aside = self.folder / f".{REGISTRY_FILE}{_PART}"
        aside.write_bytes(msgspec.json.format(history, indent=2) + b"\n")
        sync(aside)
        aside.replace(self.file)
        sync(self.folder)


def resolve_checkpoint(name_or_folder: str, models: Path) -> Path:
    """Return the folder of `champion`, of a bundled name such as `default`, or of a path.

    Raises RegistryError when there is no champion yet, CheckpointError when there is nothing of that name.
    """
    if name_or_folder != CHAMPION:
        return find_checkpoint(name_or_folder)
    champion = Registry(models).champion_path()
    if champion is None:
        raise RegistryError(f"{models} has no champion yet; run 'reviewpulse models promote VERSION' first")
    return champion


def _id_of(card: Card) -> str:
    return f"{card.name}-{card.version}"


def _standing(history: Sequence[Change]) -> list[str]:
    """Return the champions not rolled back, oldest first: a promotion adds one, a rollback leaves its own on top."""
    standing: list[str] = []
    for change in history:
        if change.action == "promote":
            standing.append(change.version)
            continue
        while len(standing) > 1:
            standing.pop()
            if standing[-1] == change.version:
                break
    return standing


def _refuse_links_elsewhere(checkpoint: Path) -> None:
    """Raise RegistryError for a link to anything but a file of the checkpoint: a copy would give other files away."""
    for path in checkpoint.rglob("*"):
        if path.is_symlink() and not (path.is_file() and path.resolve().is_relative_to(checkpoint.resolve())):
            raise RegistryError(
                f"{path} is a link to what is no file of the checkpoint; remove it, or add a copy made by 'cp -rL'"
            )

import os
import random
import select
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from reviewpulse.errors import CheckpointError, RegistryError
from reviewpulse.registry import Change, Registry, Version, resolve_checkpoint
from reviewpulse.watch import ChampionWatch
from tests.cards import tiny_card

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
KILLS = 30

PROMOTE_FOR_EVER = """
import itertools, sys
from datetime import UTC, datetime
from pathlib import Path
from reviewpulse.registry import Registry

registry = Registry(Path(sys.argv[1]))
for turn in itertools.count():
    version = "tiny-2" if registry.champion() == "tiny-1" else "tiny-1"
    registry.promote(version, now=datetime.now(UTC), evidence=f"{sys.argv[2]} {turn} " + "." * 20_000, is_forced=False)
    print(turn, flush=True)
"""

PROMOTE_IN_TURN = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from reviewpulse.registry import Registry

registry = Registry(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for turn in range(int(sys.argv[3])):
    version = f"{sys.argv[2]}-{turn % 2}"
    registry.promote(version, now=datetime.now(UTC), evidence=f"{sys.argv[2]} {turn}", is_forced=False)
"""

ADD = """
import sys
from pathlib import Path
from reviewpulse.registry import Registry

print("ready", flush=True)
Registry(Path(sys.argv[1])).add(Path(sys.argv[2]))
"""


def checkpoint(folder: Path, **changes: object) -> Path:
    """Write what the registry sees of a checkpoint: a card, and files it copies unread."""
    (folder / "onnx").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"\x00weights\xff")
    (folder / "onnx" / "model.onnx").write_bytes(b"graph")
    tiny_card(**changes).write(folder)
    return folder


def registry_of(tmp_path: Path, *versions: str, name: str = "tiny") -> Registry:
    """Return a registry with versions tiny-1, tiny-2 ... made a day apart."""
    registry = Registry(tmp_path / "models")
    for day, version in enumerate(versions):
        trained_at = (NOON + timedelta(days=day)).isoformat()
        folder = checkpoint(tmp_path / f"{name}-{version}", name=name, version=version, trained_at=trained_at)
        registry.add(folder)
    return registry


def promote(registry: Registry, version: str, now: datetime = NOON, evidence: str = "better") -> None:
    registry.promote(version, now=now, evidence=evidence, is_forced=False)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_added_checkpoint_lies_whole_under_its_name_and_version(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "trained", name="gifts", version="20260601-120000")
    registry = Registry(tmp_path / "deep" / "models")

    assert registry.add(folder) == "gifts-20260601-120000"

    assert registry.path("gifts-20260601-120000") == tmp_path / "deep" / "models" / "gifts-20260601-120000"
    assert content(registry.path("gifts-20260601-120000")) == content(folder)
    assert names(registry.folder) == [".lock", "gifts-20260601-120000"]


def test_versions_stand_in_the_order_they_were_trained_with_the_champion_marked(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "b", "a", "c")

    promote(registry, "tiny-a")

    assert registry.versions() == [
        Version("tiny-b", tiny_card(version="b", trained_at="2026-06-01T12:00:00+00:00"), is_champion=False),
        Version("tiny-a", tiny_card(version="a", trained_at="2026-06-02T12:00:00+00:00"), is_champion=True),
        Version("tiny-c", tiny_card(version="c", trained_at="2026-06-03T12:00:00+00:00"), is_champion=False),
    ]


def test_reading_a_registry_that_is_not_there_makes_none(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "models")

    assert (registry.versions(), registry.history(), registry.champion(), registry.champion_path()) == (
        [],
        [],
        None,
        None,
    )
    with pytest.raises(RegistryError, match=r"has no champion to roll back; promote a version first"):
        registry.rollback(now=NOON)
    with pytest.raises(RegistryError, match=r"no version 'tiny-1' in .*models \(there is: none\)"):
        promote(registry, "tiny-1")
    assert not registry.folder.exists()


def test_a_version_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1")
    other = checkpoint(tmp_path / "other", version="1", seed=7)

    with pytest.raises(RegistryError, match="holds tiny-1 already"):
        registry.add(other)

    assert registry.card("tiny-1").seed == 0
    assert names(registry.folder) == [".lock", "tiny-1"]


def test_a_folder_without_a_fitting_card_is_not_added(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "old", cleaning_version=999)

    with pytest.raises(CheckpointError, match="cleaned by version 999"):
        Registry(tmp_path / "models").add(folder)

    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    "changes",
    [{"name": "../tiny"}, {"name": ".tiny"}, {"name": ""}, {"version": "1/2"}, {"name": "a\\b"}],
)
def test_a_card_whose_name_would_lead_elsewhere_is_not_added(tmp_path: Path, changes: dict[str, str]) -> None:
    folder = checkpoint(tmp_path / "bad", **changes)

    with pytest.raises(RegistryError, match="cannot name a folder"):
        Registry(tmp_path / "models").add(folder)

    assert names(tmp_path) == ["bad"]


def test_a_checkpoint_that_holds_the_registry_is_not_copied_into_itself(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "trained")

    with pytest.raises(RegistryError, match="lies in"):
        Registry(folder / "models").add(folder)


def test_what_was_added_and_promoted_may_be_read_by_others(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "trained")
    (folder / "model.safetensors").chmod(0o600)
    (folder / "onnx").chmod(0o700)
    folder.chmod(0o700)
    umask = os.umask(0o022)
    try:
        registry = Registry(tmp_path / "models")
        registry.add(folder)
        promote(registry, "tiny-1")
    finally:
        os.umask(umask)

    modes = {str(path.relative_to(registry.folder)): path.stat().st_mode & 0o777 for path in registry.folder.rglob("*")}
    assert modes == {
        ".lock": 0o644,
        "registry.json": 0o644,
        "tiny-1": 0o755,
        "tiny-1/card.json": 0o644,
        "tiny-1/model.safetensors": 0o644,
        "tiny-1/onnx": 0o755,
        "tiny-1/onnx/model.onnx": 0o644,
    }


def test_a_link_is_copied_as_what_it_leads_to(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "trained")
    (folder / "model.safetensors").rename(folder / "blob")
    (folder / "model.safetensors").symlink_to("blob")

    registry = Registry(tmp_path / "models")
    registry.add(folder)
    (registry.path("tiny-1") / "blob").unlink()

    assert (registry.path("tiny-1") / "model.safetensors").read_bytes() == b"\x00weights\xff"


@pytest.mark.parametrize("target", ["../secret", "../folder", ".", "onnx", "gone", "link"])
def test_a_link_to_what_is_no_file_of_the_checkpoint_is_not_followed(tmp_path: Path, target: str) -> None:
    """A link in a foreign checkpoint had its user's own files copied into the registry, readable for all."""
    (tmp_path / "secret").write_text("hush")
    (tmp_path / "folder").mkdir()
    folder = checkpoint(tmp_path / "foreign")
    (folder / "link").symlink_to(target)

    with pytest.raises(RegistryError, match=r"link is a link to what is no file of the checkpoint.*cp -rL"):
        Registry(tmp_path / "models").add(folder)

    assert not (tmp_path / "models").exists()


def test_a_copy_that_fails_is_no_version_and_the_next_one_clears_it_away(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "trained")
    os.mkfifo(folder / "pipe")
    registry = Registry(tmp_path / "models")

    with pytest.raises(RegistryError, match=r"cannot write .*models \(.*pipe"):
        registry.add(folder)
    assert registry.versions() == []

    registry.add(checkpoint(tmp_path / "other", version="2"))
    assert names(registry.folder) == [".lock", "tiny-2"]


def test_a_version_judged_against_a_champion_that_is_no_more_is_not_promoted(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2", "3")
    promote(registry, "tiny-1")
    changes = len(registry.history())
    promote(registry, "tiny-2")

    with pytest.raises(RegistryError, match="tiny-2 became the champion while tiny-3 was judged; promote it again"):
        registry.promote("tiny-3", now=NOON, evidence="better than 1", is_forced=False, judged_after=changes)

    assert registry.champion() == "tiny-2"
    registry.promote("tiny-3", now=NOON, evidence="better than 2", is_forced=False, judged_after=changes + 1)
    assert registry.champion() == "tiny-3"


def test_the_history_tells_of_each_change_in_turn(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2")
    later, latest = NOON + timedelta(hours=1), NOON + timedelta(hours=2)

    registry.promote("tiny-1", now=NOON, evidence="the first", is_forced=False)
    registry.promote("tiny-2", now=later, evidence="macro-F1 falls by 0.02", is_forced=True)
    assert registry.rollback(now=latest) == "tiny-1"

    assert Registry(registry.folder).history() == [
        Change(NOON, "tiny-1", None, "promote", "the first", is_forced=False),
        Change(later, "tiny-2", "tiny-1", "promote", "macro-F1 falls by 0.02", is_forced=True),
        Change(latest, "tiny-1", "tiny-2", "rollback", "", is_forced=False),
    ]
    assert (registry.champion(), registry.champion_path()) == ("tiny-1", registry.folder / "tiny-1")
    assert names(registry.folder) == [".lock", "registry.json", "tiny-1", "tiny-2"]


def test_the_champion_is_not_promoted_again(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1")
    promote(registry, "tiny-1")

    with pytest.raises(RegistryError, match=r"tiny-1 is the champion of .* already"):
        promote(registry, "tiny-1")

    assert len(registry.history()) == 1


def test_repeated_rollbacks_go_further_back_and_end_at_the_first_champion(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2", "3")
    for version in ("tiny-1", "tiny-2", "tiny-1", "tiny-3"):
        promote(registry, version)

    assert [registry.rollback(now=NOON) for _ in range(3)] == ["tiny-1", "tiny-2", "tiny-1"]
    with pytest.raises(RegistryError, match="no champion before tiny-1 to go back to; promote another"):
        registry.rollback(now=NOON)
    assert (registry.champion(), len(registry.history())) == ("tiny-1", 7)


def test_what_was_rolled_back_is_not_gone_back_to_later(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2", "3")
    promote(registry, "tiny-1")
    promote(registry, "tiny-2")
    registry.rollback(now=NOON)
    promote(registry, "tiny-3")

    assert registry.rollback(now=NOON) == "tiny-1"


def test_rollback_passes_over_what_is_gone_and_says_so(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2", "3", "4")
    for version in ("tiny-1", "tiny-2", "tiny-3", "tiny-4"):
        promote(registry, version)
    shutil.rmtree(registry.path("tiny-2"))
    tiny_card(version="3", cleaning_version=999).write(registry.path("tiny-3"))

    assert registry.rollback(now=NOON) == "tiny-1"

    last = registry.history()[-1]
    assert (last.version, last.previous, last.action) == ("tiny-1", "tiny-4", "rollback")
    assert "tiny-3 passed over" in last.evidence
    assert "cleaned by version 999" in last.evidence
    assert "tiny-2 passed over: there is no version 'tiny-2'" in last.evidence
    with pytest.raises(RegistryError, match="no champion before tiny-1"):
        registry.rollback(now=NOON)


def test_a_rollback_with_nothing_left_to_go_back_to_names_what_is_gone(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2")
    promote(registry, "tiny-1")
    promote(registry, "tiny-2")
    shutil.rmtree(registry.path("tiny-1"))

    with pytest.raises(RegistryError, match="no champion before tiny-2 to go back to; tiny-1 passed over: "):
        registry.rollback(now=NOON)
    assert registry.champion() == "tiny-2"


@pytest.mark.parametrize(
    "version",
    ["tiny-9", "", ".", "..", "../tiny-1", "./tiny-1", "tiny-1/", "/etc", ".hidden-1", ".lock", "registry.json", "x\0"],
)
def test_an_id_that_is_no_version_is_refused_with_the_known_ones(tmp_path: Path, version: str) -> None:
    registry = registry_of(tmp_path, "1", "2")
    checkpoint(registry.folder / ".hidden-1")

    for ask in (registry.path, registry.card, lambda name: promote(registry, name)):
        with pytest.raises(RegistryError, match=r"there is no version '.*' in .*models \(there is: tiny-1, tiny-2\)"):
            ask(version)
    assert registry.history() == []


def test_a_version_that_no_longer_fits_is_left_out_with_a_warning_and_not_promoted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    registry = registry_of(tmp_path, "1", "2", "3")
    tiny_card(version="2", cleaning_version=999).write(registry.path("tiny-2"))
    registry.path("tiny-3").rename(registry.folder / "best")

    assert [each.version for each in registry.versions()] == ["tiny-1"]

    assert "version tiny-2 is left out" in caplog.text
    assert "best holds tiny-3; give the folder its own name again" in caplog.text
    with pytest.raises(CheckpointError, match="cleaned by version 999"):
        promote(registry, "tiny-2")


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"history": [{"changed_at"',
        b"\xff\xfe",
        b'{"champion": "tiny-1"}',
        b'{"history": [{"changed_at": "2026-06-01T12:00:00Z", "version": "../../etc", "previous": null, '
        b'"action": "promote", "evidence": "", "is_forced": false}]}',
    ],
)
def test_a_damaged_registry_is_named_with_the_cure_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    registry = registry_of(tmp_path, "1")
    registry.file.write_bytes(damage)

    for ask in (registry.champion_path, registry.versions, ChampionWatch(registry).changed):
        with pytest.raises(RegistryError, match=r"registry.json is damaged \(.*\); bring back a copy of it"):
            ask()
    with pytest.raises(RegistryError, match="is damaged"):
        promote(registry, "tiny-1")
    assert registry.file.read_bytes() == damage


def test_a_champion_whose_folder_is_gone_is_an_error(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2")
    promote(registry, "tiny-1")
    shutil.rmtree(registry.path("tiny-1"))

    with pytest.raises(RegistryError, match=r"no version 'tiny-1' .*\(there is: tiny-2\)"):
        registry.champion_path()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, no folder")

    with pytest.raises(RegistryError, match=r"cannot write .*models \(.*File exists"):
        Registry(tmp_path / "models").add(checkpoint(tmp_path / "trained"))


def test_a_killed_promotion_leaves_the_old_or_the_new_champion(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2")
    promote(registry, "tiny-1")
    moments = random.Random(7)

    for kill in range(KILLS):
        before = registry.history()
        confirmed = _kill_while_promoting(registry, kill, seconds=moments.uniform(0, 0.03))
        after = registry.history()

        assert after[: len(before)] == before
        turns = [f"{kill} {turn}" for turn in range(len(after) - len(before))]
        assert [change.evidence.rstrip(". ") for change in after[len(before) :]] == turns
        assert len(turns) in (confirmed, confirmed + 1)  # the last one may be done and not yet confirmed
        assert [change.previous for change in after] == [None, *(change.version for change in after[:-1])]
        assert registry.champion_path() in (registry.folder / "tiny-1", registry.folder / "tiny-2")
    promote(registry, "tiny-2" if registry.champion() == "tiny-1" else "tiny-1")  # no lock was left behind
    assert names(registry.folder) == [".lock", "registry.json", "tiny-1", "tiny-2"]


def _kill_while_promoting(registry: Registry, kill: int, seconds: float) -> int:
    """Kill a promoting process that long after its first promotion, reading all the while; return how many it told."""
    command = [sys.executable, "-c", PROMOTE_FOR_EVER, str(registry.folder), str(kill)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert registry.champion_path() is not None
        process.kill()
        return 1 + sum(line.endswith("\n") for line in process.stdout)


def test_promotions_from_several_processes_at_once_are_all_in_the_history(tmp_path: Path) -> None:
    writers, turns = ["ann", "ben", "cem"], 40
    for writer in writers:
        registry = registry_of(tmp_path, "0", "1", name=writer)

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROMOTE_IN_TURN, str(registry.folder), writer, str(turns)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for writer in writers
    ]
    assert [process.stdout and process.stdout.readline() for process in processes] == [b"ready\n"] * 3
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]

    history = registry.history()
    for writer in writers:
        theirs = [change.evidence for change in history if change.evidence.startswith(writer)]
        assert theirs == [f"{writer} {turn}" for turn in range(turns)]
    assert [change.previous for change in history] == [None, *(change.version for change in history[:-1])]


def test_a_killed_add_leaves_no_half_version_and_the_next_add_succeeds(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "trained")
    for part in range(20):
        (folder / f"part-{part}").write_bytes(b"\x01" * 500_000)
    registry = Registry(tmp_path / "models")
    moments, cut_short = random.Random(7), 0

    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", ADD, str(registry.folder), str(folder)], stdout=subprocess.PIPE
        ) as process:
            select.select([process.stdout], [], [])
            time.sleep(moments.uniform(0, 0.03))
            process.kill()
        if whole := registry.versions():
            assert content(registry.path(whole[0].version)) == content(folder)
            shutil.rmtree(registry.path("tiny-1"))
        cut_short += any(registry.folder.glob(".*.part"))

    assert cut_short > 0
    assert content(registry.path(registry.add(folder))) == content(folder)
    assert names(registry.folder) == [".lock", "tiny-1"]


def test_a_watch_tells_of_each_new_champion_once(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2")
    watch = ChampionWatch(registry)
    one, two = registry.path("tiny-1"), registry.path("tiny-2")

    told = [watch.changed()]
    promote(registry, "tiny-1")
    told += [watch.changed(), watch.changed()]
    promote(registry, "tiny-2")
    told += [watch.changed(), watch.changed()]
    registry.rollback(now=NOON)
    told += [watch.changed(), watch.changed()]

    assert told == [None, one, None, two, None, one, None]
    assert ChampionWatch(registry).changed() == one


def test_a_watch_sees_two_changes_within_one_tick_of_the_clock_in_one_inode(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2", "3")
    promote(registry, "tiny-1")
    promote(registry, "tiny-2")
    watch = ChampionWatch(registry)
    assert watch.changed() == registry.path("tiny-2")
    status, kept = registry.file.stat(), registry.file.with_name("kept")
    os.link(registry.file, kept)

    promote(registry, "tiny-3")
    kept.write_bytes(registry.file.read_bytes())  # the new content in the old file, at the old time
    kept.replace(registry.file)
    os.utime(registry.file, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert (registry.file.stat().st_ino, registry.file.stat().st_mtime_ns) == (status.st_ino, status.st_mtime_ns)
    assert watch.changed() == registry.path("tiny-3")


def test_a_watch_sees_a_registry_of_the_same_size_put_there_by_hand(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2")
    promote(registry, "tiny-1")
    watch = ChampionWatch(registry)
    assert watch.changed() == registry.path("tiny-1")

    edited = registry.file.with_name("edited")
    edited.write_bytes(registry.file.read_bytes().replace(b"tiny-1", b"tiny-2"))
    edited.replace(registry.file)

    assert watch.changed() == registry.path("tiny-2")


def test_a_watch_takes_changes_between_two_looks_together(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2", "3")
    promote(registry, "tiny-1")
    watch = ChampionWatch(registry)
    assert watch.changed() == registry.path("tiny-1")

    promote(registry, "tiny-2")
    promote(registry, "tiny-3")
    assert watch.changed() == registry.path("tiny-3")

    promote(registry, "tiny-2")
    registry.rollback(now=NOON)
    assert watch.changed() is None


def test_a_watch_complains_until_the_champion_is_there_again(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1", "2")
    promote(registry, "tiny-1")
    watch = ChampionWatch(registry)
    assert watch.changed() == registry.path("tiny-1")
    promote(registry, "tiny-2")
    shutil.rmtree(registry.path("tiny-2"))

    for _ in range(2):
        with pytest.raises(RegistryError, match="no version 'tiny-2'"):
            watch.changed()
    registry.add(tmp_path / "tiny-2")

    assert [watch.changed(), watch.changed()] == [registry.path("tiny-2"), None]


def test_the_registry_is_read_by_any_json_reader(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1")
    promote(registry, "tiny-1", evidence='macro-F1 0.61 > 0.58, "größer"')

    assert msgspec.json.decode(registry.file.read_bytes()) == {
        "history": [
            {
                "changed_at": "2026-06-01T12:00:00Z",
                "version": "tiny-1",
                "previous": None,
                "action": "promote",
                "evidence": 'macro-F1 0.61 > 0.58, "größer"',
                "is_forced": False,
            }
        ]
    }


def test_the_registry_needs_no_torch() -> None:
    program = "import sys, reviewpulse.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_commands_find_the_champion_by_that_word(tmp_path: Path) -> None:
    registry = registry_of(tmp_path, "1")
    with pytest.raises(RegistryError, match="has no champion yet; run 'reviewpulse models promote"):
        resolve_checkpoint("champion", registry.folder)
    promote(registry, "tiny-1")

    assert resolve_checkpoint("champion", registry.folder) == registry.folder / "tiny-1"
    assert resolve_checkpoint(str(tmp_path / "tiny-1"), registry.folder) == tmp_path / "tiny-1"

import os
from pathlib import Path

import pytest
import torch

from training.resume import Snapshots


def test_a_snapshot_bears_its_name_only_when_its_content_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, sync = list[str](), os.fsync

    def watched(descriptor: int) -> None:
        sync(descriptor)
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", watched)
    snapshots = Snapshots(tmp_path, every_seconds=300)

    snapshots.save({"model": torch.ones(3)}, b"{}")
    snapshots.keep_best({"weight": torch.ones(3)})

    assert synced == ["snapshot.pt.part", "best.safetensors.part"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.safetensors", "snapshot.pt"]

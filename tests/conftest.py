"""What every test may use: a tiny checkpoint with random weights."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint folder of a randomly initialised one-layer BERT; scores are arbitrary but real."""
    from tests.tiny import save_tiny_checkpoint

    return save_tiny_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny")

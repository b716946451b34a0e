"""A card from somewhere is read with doubt."""

from pathlib import Path

import pytest

from reviewpulse.card import CARD_FILE, read_card
from reviewpulse.errors import CheckpointError
from reviewpulse.profile import PROFILE_FILE, read_profile
from tests.cards import tiny_card
from training.history import HISTORY_FILE, read_history


@pytest.mark.parametrize("content", [b'{"name": "\xff"}', b"[" * 100_000, b"{"])
def test_a_file_that_is_no_json_is_an_error_with_a_cure(tmp_path: Path, content: bytes) -> None:
    """One that is not UTF-8 ended the worker with a traceback."""
    for name in (CARD_FILE, PROFILE_FILE, HISTORY_FILE):
        (tmp_path / name).write_bytes(content)

    with pytest.raises(CheckpointError, match=r"card\.json is no card of this version.*train the checkpoint again"):
        read_card(tmp_path)
    with pytest.raises(CheckpointError, match=r"profile\.json is no profile.*train the checkpoint again"):
        read_profile(tmp_path)
    with pytest.raises(CheckpointError, match=r"history\.json is damaged.*copy the checkpoint anew"):
        read_history(tmp_path)


@pytest.mark.parametrize("sign", ["\x1b[2J", "\n", "\x9b31m", "\u202e"])
@pytest.mark.parametrize("field", ["name", "version"])
def test_a_card_whose_name_could_steer_a_terminal_is_refused(tmp_path: Path, field: str, sign: str) -> None:
    tiny_card(**{field: f"a{sign}b"}).write(tmp_path)

    with pytest.raises(CheckpointError, match=r"card\.json gives a name or version with signs that cannot be printed"):
        read_card(tmp_path)

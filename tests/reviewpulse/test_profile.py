from pathlib import Path

import numpy as np
import pytest

from reviewpulse.decision import Predictions
from reviewpulse.errors import CheckpointError
from reviewpulse.profile import CONFIDENCE_EDGES, LENGTH_EDGES, Profile, read_profile


def profile() -> Profile:
    """Return the profile of four reviews."""
    probabilities = np.array(
        [[0.92, 0.08, 0, 0, 0], [0.92, 0.08, 0, 0, 0], [0, 0, 0, 0.48, 0.52], [0, 0, 0, 0.48, 0.52]], dtype=np.float32
    )
    return Profile.of(Predictions(probabilities, np.array([0, 0, 3, 4])), np.array([5, 9, 10, 200]), unknown_tokens=28)


def test_a_profile_tells_the_shares_of_labels_confidences_and_lengths() -> None:
    made = profile()

    assert (made.reviews, made.class_shares, made.unknown_token_share) == (4, [0.5, 0, 0, 0.25, 0.25], 0.125)
    confidences = {edge: share for edge, share in zip(CONFIDENCE_EDGES, made.confidence_shares, strict=False) if share}
    assert confidences == {0.9: 0.5, 0.45: 0.25, 0.5: 0.25}
    lengths = {edge: share for edge, share in zip(LENGTH_EDGES, made.length_shares, strict=False) if share}
    assert lengths == {0: 0.25, 8: 0.5, 192: 0.25}


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    profile().write(tmp_path)

    assert read_profile(tmp_path) == profile()


def test_a_missing_or_damaged_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read .*profile\.json"):
        read_profile(tmp_path)
    (tmp_path / "profile.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"profile\.json is no profile"):
        read_profile(tmp_path)

from pathlib import Path

import msgspec

from reviewpulse.card import Decision, Recalibration
from tests.cards import tiny_card
from tests.training.examples import quick_plan
from training.modelcard import model_card


def test_the_card_names_options_of_nought_as_well_and_tells_the_seeds_apart() -> None:
    """Without `dropout 0.0` its reader would train another checkpoint, with the default of 0.1."""
    plan = quick_plan(Path("base"), layers=(0, 2))
    plan = msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, dropout=0.0, seed=0))

    said = model_card(tiny_card(plan=msgspec.to_builtins(plan)), 1_000_000)

    made_by = next(line for line in said.splitlines() if line.startswith("- **Made by:**"))
    assert "layers (0, 2), " in made_by or "layers [0, 2], " in made_by
    assert "dropout 0.0, " in made_by
    assert "split seed 0, " in made_by
    assert made_by.endswith(", seed 0.")
    assert "teacher None" not in made_by


def test_the_card_tells_how_probabilities_are_made_and_that_this_was_chosen_anew() -> None:
    plain = model_card(tiny_card(decision=Decision(temperature=1.5)), 1_000_000)
    made = Recalibration(from_version="7", calibration="entropy-based", git_commit="abc")
    decision = Decision(temperature=1.5, entropy_exponent=0.25, class_biases=(0.5, 0, 0, 0, -1), tau=0.5)

    anew = model_card(tiny_card(decision=decision, recalibration=made), 1_000_000)

    assert "divided by the temperature\n  1.5.\n  The label is the most probable one.\n" in plain
    assert "Calibrated anew" not in plain
    assert (
        "  1.5 times (H / ln 5)^0.25, H being the entropy of their softmax, and 0.5, 0, 0, 0, -1 are added.\n" in anew
    )
    assert "less 0.5 times the log of its class's share: not always the most probable.\n" in anew
    assert "- **Calibrated anew:** entropy-based, by `scripts/recalibrate.py` of commit abc" in anew
    assert "the weights are those of version 7.\n" in anew

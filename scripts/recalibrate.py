"""Chooses a trained checkpoint's temperature, biases and tau anew on its validation: the weights stay as they are.

For a checkpoint whose calibration was made by an earlier version of `reviewpulse train`.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from reviewpulse.card import find_checkpoint
from reviewpulse.classifier import SentimentClassifier, silence_transformers
from reviewpulse.errors import ReviewpulseError, TrainingError
from reviewpulse.progress import SilentProgress
from training.calibration import Calibration
from training.checkpoint import decided, profile_of
from training.command import parse_calibration
from training.corpus import Corpus
from training.modelcard import write_model_card
from training.plan import Plan
from training.reading import fill_corpus
from training.seen import read_seen
from training.split import Side


def recalibrate(checkpoint: Path, files: Sequence[Path], into: Path, calibration: Calibration, now: datetime) -> None:
    """Write the checkpoint with a decision and a version of today into a new folder.

    Raises TrainingError when the files are not those that the checkpoint was trained on, or the folder is there.
    """
    if into.exists():
        raise TrainingError(f"{into} exists already; name another folder by --into, or remove it first")
    classifier = SentimentClassifier.load(checkpoint, "cpu")
    card = classifier.card
    plan = msgspec.structs.replace(msgspec.convert(card.plan, Plan), calibration=calibration)
    with tempfile.TemporaryDirectory() as folder, Corpus(Path(folder) / "corpus.db") as corpus:
        fill_corpus(corpus, files, [], plan.train_only, SilentProgress())
        corpus.split(plan.split)
        seen = read_seen(checkpoint)
        sides = [seen.side_of(*keys) for keys in corpus.seen_keys(Side.validation)]
        if not sides or set(sides) != {Side.validation}:
            raise TrainingError(f"the files are not those that {checkpoint} was trained on: it has another validation")
        card = msgspec.structs.replace(
            decided(classifier, corpus, plan), version=now.strftime("%Y%m%d-%H%M%S"), plan=msgspec.to_builtins(plan)
        )
        profile = profile_of(classifier, card, list(corpus.texts(Side.validation)))
    shutil.copytree(checkpoint, into)
    card.write(into)
    profile.write(into)
    write_model_card(into, card)
    sys.stdout.write(
        f"{into}: {card.decision}\n{', '.join(f'{name} {value:.3f}' for name, value in card.metrics.items())}\n"
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="checkpoint folder or name")
    parser.add_argument("reviews", type=Path, nargs="+", help="the rated files that it was trained on")
    parser.add_argument("--into", type=Path, required=True, help="the folder to write, which must not be there")
    parser.add_argument("--calibration", default=Calibration.entropy_based, help="as `reviewpulse train` knows them")
    options = parser.parse_args()
    silence_transformers()
    calibration = parse_calibration(options.calibration)
    try:
        recalibrate(find_checkpoint(options.checkpoint), options.reviews, options.into, calibration, datetime.now(UTC))
    except ReviewpulseError as exc:
        sys.exit(str(exc))


if __name__ == "__main__":
    main()

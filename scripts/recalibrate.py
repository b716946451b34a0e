"""Chooses a trained checkpoint's calibration and tau anew on its validation; the weights stay as they are.

For a checkpoint that an earlier version of `reviewpulse train` calibrated. Give the files of its training.
"""

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from reviewpulse.card import Card, Recalibration, find_checkpoint
from reviewpulse.classifier import SentimentClassifier, silence_transformers
from reviewpulse.durable import copy_folder, sync
from reviewpulse.errors import ReviewpulseError, TrainingError
from reviewpulse.profile import Profile
from reviewpulse.progress import SilentProgress
from training.calibration import Calibration
from training.checkpoint import decided, git_commit, profile_of
from training.command import Sources, parse_calibration
from training.corpus import Corpus
from training.modelcard import write_model_card
from training.plan import Plan
from training.reading import fill_corpus
from training.split import Side


def recalibrate(checkpoint: Path, sources: Sources, into: Path, calibration: Calibration, now: datetime) -> Card:
    """Write the checkpoint with another decision into a new folder, whole at once, and return its card.

    Raises TrainingError when the files are not those of the training, the folder is there or the card is too old.
    """
    if into.exists():
        raise TrainingError(f"{into} exists already; name another folder by --into, or remove it first")
    classifier = SentimentClassifier.load(checkpoint, "cpu")
    try:
        plan = msgspec.convert(classifier.card.plan, Plan)
    except msgspec.ValidationError as exc:
        raise TrainingError(
            f"{checkpoint} was trained by a version with other options ({exc}); train it again"
        ) from exc
    card, profile = _decided(classifier, sources, msgspec.structs.replace(plan, calibration=calibration))
    made = Recalibration(from_version=card.version, calibration=calibration, git_commit=git_commit())
    card = msgspec.structs.replace(card, version=now.strftime("%Y%m%d-%H%M%S"), recalibration=made)
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f"{into.name}.") as folder:
        unfinished = Path(folder) / into.name
        copy_folder(checkpoint, unfinished)
        card.write(unfinished)
        profile.write(unfinished)
        write_model_card(unfinished, card)
        for path in unfinished.iterdir():
            sync(path)
        unfinished.rename(into)
    return card


def _decided(classifier: SentimentClassifier, sources: Sources, plan: Plan) -> tuple[Card, Profile]:
    """Return the card with its new decision, and the profile by it."""
    with tempfile.TemporaryDirectory() as folder, Corpus(Path(folder) / "corpus.db") as corpus:
        fill_corpus(corpus, sources.files, sources.unlabelled, plan.train_only, SilentProgress())
        corpus.split(plan.split)
        if corpus.sha256() != classifier.card.data_sha256:
            raise TrainingError(
                f"these are not the reviews that {classifier.card.name} was trained on; give all files of its "
                "training, those without stars by --unlabelled, in the order they had"
            )
        card = decided(classifier, corpus, plan)
        return card, profile_of(classifier, card, list(corpus.texts(Side.validation)))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="checkpoint folder or name")
    parser.add_argument("reviews", type=Path, nargs="+", help="the rated files that it was trained on")
    parser.add_argument(
        "--unlabelled", type=Path, action="append", default=[], help="its files without stars; repeatable"
    )
    parser.add_argument("--into", type=Path, required=True, help="the folder to write, which must not be there")
    parser.add_argument(
        "--calibration",
        default=Calibration.entropy_based,
        help=f"one of: {', '.join(Calibration)} (default: %(default)s)",
    )
    options = parser.parse_args()
    silence_transformers()
    try:
        card = recalibrate(
            find_checkpoint(options.checkpoint),
            Sources(options.reviews, options.unlabelled),
            options.into,
            parse_calibration(options.calibration),
            datetime.now(UTC),
        )
    except (ReviewpulseError, OSError) as exc:
        sys.exit(f"error: {exc}")
    figures = ", ".join(f"{name} {value:.3f}" for name, value in card.metrics.items())
    decision = card.decision
    sys.stdout.write(
        f"{options.into}: temperature {decision.temperature:g}, exponent of the entropy {decision.entropy_exponent:g}, "
        f"biases {', '.join(f'{bias:g}' for bias in decision.class_biases)}, tau {decision.tau:g}\n"
        f"on the reviews of the validation: {figures}\n"
    )


if __name__ == "__main__":
    main()

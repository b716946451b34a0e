"""Judges on validation what docs/training.md and docs/decisions.md say was chosen there; never reads the test side.

The baseline's C by macro-F1; and for each checkpoint four calibrations and, where tau has a say, two ways to choose
it, each fifth of the validation judged by what the other four choose.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from reviewpulse.card import Decision, find_checkpoint
from reviewpulse.classifier import SentimentClassifier, silence_transformers
from reviewpulse.progress import SilentProgress
from training.calibration import Calibration, calibrated, cross_fitted, with_expected_tau, with_observed_tau
from training.corpus import Corpus
from training.evaluation.baselines import tfidf_features
from training.evaluation.metrics import chance_calibration_error, macro_f1, measure
from training.plan import Plan
from training.reading import fill_corpus
from training.split import Side

CS = (1.0, 4.0, 16.0)

SHUFFLES = 6
"""Ways to part the validation in fifths."""

Logits = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]
Calibrate = Callable[[Decision, Logits, Classes], Decision]


def uncalibrated(decision: Decision, _logits: Logits, _classes: Classes) -> Decision:
    """Return the decision as it is."""
    return decision


CALIBRATIONS: dict[str, Calibrate] = {
    "none": uncalibrated,
    "temperature": partial(calibrated, calibration=Calibration.temperature),
    "temperature and biases": partial(calibrated, calibration=Calibration.bias_corrected),
    "entropy-based temperature and biases": partial(calibrated, calibration=Calibration.entropy_based),
}


def judge_calibrations(untuned: Decision, logits: Logits, classes: Classes) -> dict[str, object]:
    """Return macro-F1, log loss and calibration error of each calibration of a checkpoint's logits.

    tau is that of the highest macro-F1 for all of them: what is expected needs biases.
    """
    judged: dict[str, object] = {}
    for calibration, calibrate in CALIBRATIONS.items():

        def choose(logits: Logits, classes: Classes, calibrate: Calibrate = calibrate) -> Decision:
            return with_observed_tau(calibrate(untuned, logits, classes), logits, classes)

        predictions = cross_fitted(logits, classes, choose)
        chance = chance_calibration_error(predictions.probabilities)
        figures = {name: round(figure, 4) for name, figure in measure(predictions, classes).items()}
        judged[calibration] = figures | {"chance_calibration_error": round(chance.mean, 4)}
    return judged


TAU_CHOICES: dict[str, Calibrate] = {
    "highest expected macro-F1": lambda decision, logits, _classes: with_expected_tau(decision, logits),
    "highest macro-F1": with_observed_tau,
}


def judge_taus(untuned: Decision, logits: Logits, classes: Classes) -> dict[str, object]:
    """Return the mean macro-F1 over SHUFFLES ways to part the rows, and the taus chosen, of each way to choose one."""
    judged: dict[str, object] = {}
    for way, with_a_tau in TAU_CHOICES.items():
        taus: list[float] = []

        def choose(logits: Logits, classes: Classes, with_a_tau: Calibrate = with_a_tau) -> Decision:
            decision = with_a_tau(calibrated(untuned, logits, classes), logits, classes)
            taus.append(decision.tau)  # noqa: B023  # of this way: cross_fitted calls it at once
            return decision

        found = []
        for seed in range(SHUFFLES):
            order = np.random.default_rng(seed).permutation(len(classes))
            found.append(macro_f1(cross_fitted(logits[order], classes[order], choose).classes, classes[order]))
        judged[way] = {"macro_f1": round(float(np.mean(found)), 4), "lowest_tau": min(taus), "highest_tau": max(taus)}
    return judged


def judge_baseline(corpus: Corpus, texts: list[str], classes: Classes) -> dict[str, float]:
    """Return the baseline's macro-F1 by C."""
    features = tfidf_features()
    learned = features.fit_transform(list(corpus.texts(Side.training)))
    vectors, answers = features.transform(texts), corpus.classes(Side.training)
    return {
        f"{c:g}": round(
            macro_f1(LogisticRegression(C=c, max_iter=300).fit(learned, answers).predict(vectors), classes), 4
        )
        for c in CS
    }


def main() -> None:
    """Judge and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reviews", type=Path, help="the file that the checkpoints were trained on")
    parser.add_argument("checkpoints", nargs="+", help="checkpoint folders or names, all of one split")
    parser.add_argument("--into", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    silence_transformers()
    classifiers = [SentimentClassifier.load(find_checkpoint(name), "cpu") for name in options.checkpoints]
    plans = [msgspec.convert(classifier.card.plan, Plan) for classifier in classifiers]
    if any(plan.split != plans[0].split for plan in plans):
        sys.exit("the checkpoints were trained on different splits; judge them one split at a time")
    with tempfile.TemporaryDirectory() as folder, Corpus(Path(folder) / "corpus.db") as corpus:
        fill_corpus(corpus, [options.reviews], [], [], SilentProgress())
        corpus.split(plans[0].split)
        texts, classes = list(corpus.texts(Side.validation)), corpus.classes(Side.validation)
        report: dict[str, object] = {
            "file": options.reviews.name,
            "validation_reviews": len(texts),
            "tfidf_macro_f1_by_c": judge_baseline(corpus, texts, classes),
        }
    calibrations, taus = dict[str, object](), dict[str, object]()
    for classifier in classifiers:
        name, own, logits = classifier.card.name, classifier.card.decision, classifier.logits(texts)
        untuned = Decision(head=own.head, label_by=own.label_by, class_shares=own.class_shares)
        calibrations[name] = judge_calibrations(untuned, logits, classes)
        if own.label_by == "probabilities":
            taus[name] = judge_taus(untuned, logits, classes)
    report |= {"calibrations": calibrations, "taus": taus}
    options.into.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

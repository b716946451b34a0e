"""Measures reviews a second, texts in and labels out, of several candidates in turn in one run on one machine.

Beside the checkpoints stand plain encoders run by transformers alone, so that figures of
different machines can be compared by their ratio to these.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch

from reviewpulse.card import find_checkpoint
from reviewpulse.classifier import (
    SentimentClassifier,
    compute_dtype,
    pad,
    silence_transformers,
)
from reviewpulse.labels import class_of_stars
from reviewpulse.progress import SilentProgress
from training.base import Base, load_base
from training.evaluation.baselines import TFIDF, predict_tfidf, train_tfidf
from training.evaluation.evaluate import BATCH_TEXTS, processor_name
from training.example import Example
from training.reading import rated_examples

LEAST_SECONDS = 4.0
"""That a candidate is measured for in each round."""

PLAIN_ROWS = 64
"""Rows of a forward pass of the plain encoders."""

PLAIN_BASES = {"plain MiniLM-L6": "minilm-l6", "plain 2x128": "small-2x128"}
REFERENCE = "plain MiniLM-L6"

Scorer = Callable[[Sequence[str]], object]


@torch.inference_mode()
def score_plainly(base: Base, max_tokens: int, texts: Sequence[str]) -> None:
    """Score as a first version would: sorted by length, in passes of 64 rows, by the model's own forward."""
    base.tokenizer.enable_truncation(max_tokens)
    tokens = sorted((encoding.ids for encoding in base.tokenizer.encode_batch_fast(list(texts))), key=len)
    for start in range(0, len(tokens), PLAIN_ROWS):
        inputs = pad(tokens[start : start + PLAIN_ROWS])
        base.model(**{name: tensor.to(base.model.device) for name, tensor in inputs.items()}).logits.cpu()


def candidates_of(names: Sequence[str], reviews: Sequence[Example], device: str) -> dict[str, Scorer]:
    """Return what is measured by name: TF-IDF, checkpoints, each also by transformers alone, and plain encoders."""
    classes = np.array([class_of_stars(review.rating or 0) for review in reviews])
    scorers: dict[str, Scorer] = {
        TFIDF: partial(predict_tfidf, train_tfidf([review.text for review in reviews], classes)[TFIDF])
    }
    for name in names:
        classifier = SentimentClassifier.load(find_checkpoint(name), device)
        title = classifier.card.name
        scorers[title] = classifier.predict
        plain = Base(classifier.model, classifier.tokenizer)
        scorers[f"{title} by transformers alone"] = partial(score_plainly, plain, classifier.card.max_tokens)
    for title, name in PLAIN_BASES.items():
        base = load_base(name)
        base.model.to(device=device, dtype=compute_dtype(device)).eval()  # type: ignore[call-arg]  # hides self
        scorers[title] = partial(score_plainly, base, 128)
    return scorers


def rate(score: Scorer, texts: Sequence[str]) -> float:
    """Return the texts scored a second, in batches as the worker makes them, after a first one to warm up.

    The quick ones score the texts again and again, for LEAST_SECONDS, so that a disturbance of a moment counts less.
    """
    score(texts[:BATCH_TEXTS])
    scored, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < LEAST_SECONDS:
        for start in range(0, len(texts), BATCH_TEXTS):
            score(texts[start : start + BATCH_TEXTS])
        scored += len(texts)
    return scored / elapsed


def main() -> None:
    """Measure and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reviews", type=Path, help="file of reviews that carry stars; texts from all over it are taken")
    parser.add_argument("checkpoints", nargs="+", help="checkpoint folders or names")
    parser.add_argument("--texts", type=int, default=2_560)
    parser.add_argument("--rounds", type=int, default=5, help="each round measures every candidate once, in turn")
    parser.add_argument(
        "--device", default="cpu", choices=["cpu", "cuda"], help="where the encoders run; TF-IDF has the CPU"
    )
    parser.add_argument("--into", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    device = options.device
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU answers for --device cuda")
    silence_transformers()
    reviews = list(rated_examples(options.reviews, [], SilentProgress()))
    texts = [review.text for review in reviews[:: max(len(reviews) // options.texts, 1)][: options.texts]]
    scorers = candidates_of(options.checkpoints, reviews, device)
    rates: dict[str, list[float]] = {name: [] for name in scorers}
    for number in range(1, options.rounds + 1):
        for name, score in scorers.items():
            rates[name].append(rate(score, texts))
        latest = ", ".join(f"{name} {found[-1]:,.0f}/s" for name, found in rates.items())
        sys.stderr.write(f"round {number} of {options.rounds}: {latest}\n")
    report = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "file": options.reviews.name,
        "texts": len(texts),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if device == "cuda" else device,
        "dtype": str(compute_dtype(device)).removeprefix("torch."),
        "torch": torch.__version__,
        "rounds": options.rounds,
        "reviews_per_second": {
            name: {
                "median": round(statistics.median(found), 1),
                "lowest": round(min(found), 1),
                "highest": round(max(found), 1),
                "times_reference": round(
                    statistics.median(mine / its for mine, its in zip(found, rates[REFERENCE], strict=True)), 2
                ),
            }
            for name, found in rates.items()
        },
        "reference": REFERENCE,
    }
    options.into.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

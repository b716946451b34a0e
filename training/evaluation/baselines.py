"""What a checkpoint is measured against: the commonest label, and TF-IDF with logistic regression."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline

from reviewpulse.decision import Predictions
from reviewpulse.labels import LABELS

MAJORITY: Final = "majority"
TFIDF: Final = "tf-idf + logistic regression"
TUNED_TFIDF: Final = "the same, tuned"
TUNED_C: Final = 4.0

FEWEST_TEXTS: Final = 200
"""Fewer reviews to learn from make no baseline worth a comparison."""


def predict_majority(class_shares: Sequence[float], texts: int) -> Predictions:
    """Return the commonest label for so many texts, with the shares (labels,) as probabilities."""
    shares = np.array(class_shares, dtype=np.float32)
    return Predictions(np.tile(shares, (texts, 1)), np.full(texts, shares.argmax(), dtype=np.int64))


def train_tfidf(texts: Sequence[str], classes: npt.NDArray[np.int64]) -> dict[str, Pipeline]:
    """Return TF-IDF with logistic regression, fitted, by name: as scikit-learn comes, and tuned.

    Tuned means that the strength of the regularisation was chosen by macro-F1 on validation, as
    docs/results/choices.json shows.
    """
    features = tfidf_features()
    vectors = features.fit_transform(texts)  # (texts, n-grams), sparse
    regressions = {TFIDF: LogisticRegression(max_iter=300), TUNED_TFIDF: LogisticRegression(C=TUNED_C, max_iter=300)}
    return {
        name: Pipeline([("features", features), ("regression", regression.fit(vectors, classes))])
        for name, regression in regressions.items()
    }


def tfidf_features() -> FeatureUnion:
    """Return the baseline's features, to be fitted: words in ones and twos, characters in twos to fours."""
    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, dtype=np.float32)
    characters = TfidfVectorizer(analyzer="char", ngram_range=(2, 4), min_df=5, sublinear_tf=True, dtype=np.float32)
    return FeatureUnion([("words", words), ("characters", characters)])


def predict_tfidf(model: Pipeline, texts: Sequence[str]) -> Predictions:
    """Return the fitted baseline's predictions; a class that it never saw has probability 0."""
    probabilities = np.zeros((len(texts), len(LABELS)), dtype=np.float32)
    probabilities[:, model.classes_] = model.predict_proba(texts)
    return Predictions(probabilities, probabilities.argmax(axis=1))

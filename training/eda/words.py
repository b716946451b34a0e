"""Which words tell a class from the others."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from reviewpulse.labels import LABELS
from training.eda.records import ClassWords, TellingWord, VocabularyFacts

MOST_WORDS: Final = 200_000
"""Different words that are kept in memory; above it the rarest are forgotten."""

LEAST_TEXTS: Final = 10
"""A word in fewer texts is a name or a slip rather than a habit; small files, see `least_texts`, take fewer."""

LEAST_Z: Final = 1.96
"""Below it a difference is taken for chance, as Monroe, Colaresi and Quinn do."""

WORDS_PER_CLASS: Final = 20

_LONGEST_WORD: Final = 40  # characters; longer ones are addresses and noise, and would take the memory
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words_of(text: str) -> list[str]:
    """Return the words of a cleaned text in small letters, an apostrophe inside a word kept.

    >>> words_of("Loud | Don't buy it_ever: 'cheap', 10/10")
    ['loud', "don't", 'buy', 'it', 'ever', 'cheap', '10', '10']
    """
    return _WORD.findall(text.casefold().replace("\u2019", "'"))


class Vocabulary:
    """In how many rated texts of each class a word stands; a word counts once a text, however often it is said."""

    def __init__(self, most_words: int = MOST_WORDS) -> None:
        self._most_words = most_words
        self._texts: Counter[str] = Counter()
        self._class_texts: tuple[Counter[str], ...] = tuple(Counter() for _ in LABELS)
        self._totals = [0] * len(LABELS)
        self._text_totals = [0] * len(LABELS)
        self._prunings = 0
        self._most_uncounted = 0

    def add(self, words: Sequence[str], label: int) -> None:
        """Count the words of one text of a class (0 to 4)."""
        different = {word for word in words if len(word) <= _LONGEST_WORD}
        self._texts.update(different)
        self._class_texts[label].update(different)
        self._totals[label] += len(different)
        self._text_totals[label] += 1
        if len(self._texts) > self._most_words:
            self._prune()

    def _prune(self) -> None:
        """Forget the rarer half. A word that comes back starts at 0, hence what its count may lack grows."""
        bound = sorted(self._texts.values(), reverse=True)[self._most_words // 2]
        for word in [word for word, texts in self._texts.items() if texts <= bound]:
            del self._texts[word]
            for counter in self._class_texts:
                counter.pop(word, None)
        self._prunings += 1
        self._most_uncounted += bound

    def facts(self) -> VocabularyFacts:
        """Return what there is to choose from."""
        texts = sum(self._text_totals)
        return VocabularyFacts(
            texts=texts,
            words=len(self._texts),
            least_texts=least_texts(texts),
            prunings=self._prunings,
            most_uncounted=self._most_uncounted,
        )

    def telling_words(self) -> tuple[ClassWords, ...]:
        """Return each class's most telling words, WORDS_PER_CLASS at most, in label order."""
        least = least_texts(sum(self._text_totals))
        words = sorted(word for word, texts in self._texts.items() if texts >= least)
        counts = np.array([[counter[word] for counter in self._class_texts] for word in words], dtype=np.float64)
        counts = counts.reshape(len(words), len(LABELS))
        z = log_odds_z(counts, np.array(self._totals, dtype=np.float64))  # (words, classes)
        best = np.argsort(-z, axis=0, kind="stable")[:WORDS_PER_CLASS]  # (at most WORDS_PER_CLASS, classes)
        return tuple(
            ClassWords(
                label,
                tuple(
                    self._telling_word(words[row], index, float(z[row, index]))
                    for row in best[:, index].tolist()
                    if z[row, index] >= LEAST_Z
                ),
            )
            for index, label in enumerate(LABELS)
        )

    def _telling_word(self, word: str, label: int, z: float) -> TellingWord:
        here, texts = self._class_texts[label][word], self._text_totals[label]
        return TellingWord(
            word=word,
            z=round(z, 2),
            texts=here,
            share=round(here / texts, 6),
            share_elsewhere=round((self._texts[word] - here) / max(sum(self._text_totals) - texts, 1), 6),
        )


def least_texts(texts: int) -> int:
    """Return in how many texts a word must stand to be looked at: 10, in small files one in a hundred, never 1.

    >>> least_texts(50_000), least_texts(400), least_texts(30)
    (10, 4, 2)
    """
    return min(LEAST_TEXTS, max(2, texts // 100))


def log_odds_z(counts: npt.NDArray[np.float64], totals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return z-scores (words, classes): how surely a class uses a word more (above 0) than all others together.

    counts (words, classes) are a word's uses in a class, totals (classes,) the uses of all words. The
    log-odds ratio with an informative Dirichlet prior over its standard deviation: B. L. Monroe,
    M. P. Colaresi and K. M. Quinn, "Fightin' Words: Lexical Feature Selection and Evaluation for
    Identifying the Content of Political Conflict", Political Analysis 16(4), 2008, 372-403,
    doi:10.1093/pan/mpn018. The prior is the word's share in all classes and weighs as much as the
    class itself: rare words are drawn to 0, and so are words that all use alike, so no list of stop
    words is needed. A class without words, or the only one, has z 0; so has the only word there is.
    """
    everywhere = counts.sum(axis=1, keepdims=True)  # (words, 1)
    all_uses = totals.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        prior = totals * everywhere / all_uses  # (words, classes)
        here, elsewhere = counts + prior, everywhere - counts + prior
        log_odds = np.log(here / (2 * totals - here)) - np.log(elsewhere / (all_uses - elsewhere))
        z = log_odds / np.sqrt(1 / here + 1 / elsewhere)
    return np.where(np.isfinite(z), z, 0.0)

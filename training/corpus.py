"""Reviews for training on disk: read once at constant memory, deduplicated, and split so that nothing leaks."""

import contextlib
import hashlib
import itertools
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from reviewpulse.errors import TrainingError
from reviewpulse.labels import class_of_stars
from training.example import Example, customer_key, text_key
from training.split import Cutoffs, Side, SplitPlan, side_of_customer

MOST_OF_ONE_TIME: Final = 2
"""Where so many times the reviews wanted are as new as the last of them, dates tell too little to split by."""

_READ_ROWS: Final = 1_000

log = logging.getLogger(__name__)


class Account(NamedTuple):
    """Where every example that was offered to a corpus has gone."""

    training: int
    unlabelled: int
    """On the training side, without a class."""
    validation: int
    test: int
    train_only: int
    """That nothing knows, and that may not be evaluated on."""
    left_out: int
    """On no side: for training only, yet by a customer who is set apart, or as new as those set apart by time."""
    repeats: int
    """Of an earlier text."""


class Corpus:
    """Examples in a SQLite file, each text once; used as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.repeats = 0
        """Examples that were offered and not kept, because their text was there."""
        with self._writing():
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()

    def add(self, examples: Iterable[Example]) -> None:
        """Keep each example whose text is not there yet; one that is there keeps its first form.

        Raises TrainingError when the disk has no room.
        """
        offered = itertools.count()
        with self._writing(), self._connection:
            self._connection.execute("BEGIN")
            kept = self._connection.executemany(
                "INSERT OR IGNORE INTO examples (key, customer, text, class, timestamp, category, is_train_only)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (_row(example) for example, _ in zip(examples, offered, strict=False)),
            ).rowcount
        self.repeats += next(offered) - max(kept, 0)  # -1 where none was offered

    def split(self, plan: SplitPlan) -> Cutoffs:
        """Put every customer, with all of their reviews, on one side, and return the times that separate the sides.

        A customer who wrote labelled reviews after a cutoff belongs to its side; the others fall by a
        hash of the seed. An example that may only be trained on (without a class, or for training only) is left out
        when its customer is on another side or when it is as new as those set apart by time.
        """
        cutoffs = self._cutoffs(plan)

        def side(customer: bytes, latest: int | None, is_evaluable: int) -> str:
            return side_of_customer(customer, latest, cutoffs, plan) if is_evaluable else Side.training

        self._connection.create_function("side", 3, self._kept(side), deterministic=True)
        with self._writing(), self._connection:
            self._connection.execute("BEGIN")
            self._connection.execute("DELETE FROM customers")
            self._connection.execute(
                "INSERT INTO customers SELECT customer, side(customer, MAX(timestamp) FILTER (WHERE is_evaluable),"
                " MAX(is_evaluable)) FROM examples GROUP BY customer"
            )
            self._connection.execute(
                "UPDATE examples SET side = (SELECT side FROM customers WHERE customers.customer = examples.customer)"
            )
            self._connection.execute(
                "UPDATE examples SET side = NULL WHERE (side != 'training' AND NOT is_evaluable)"
                " OR (side = 'training' AND timestamp >= ?)",
                (cutoffs.validation,),
            )
        return cutoffs

    def assign(self, side_of: Callable[[bytes, bytes], Side], *, tests_among_first: int) -> None:
        """Put every example on the side that its text key and customer key call for.

        Of the test side only those among the first examples added stay: later ones are on no side.
        """
        self._connection.create_function("side_of", 2, self._kept(side_of), deterministic=True)
        with self._writing(), self._connection:
            self._connection.execute("BEGIN")
            self._connection.execute("UPDATE examples SET side = side_of(key, customer)")
            self._connection.execute(
                "UPDATE examples SET side = NULL WHERE side = ? AND id > ?", (Side.test, tests_among_first)
            )

    def count(self) -> int:
        """Return how many examples there are, on all sides."""
        (count,) = self._connection.execute("SELECT COUNT(*) FROM examples").fetchone()
        return int(count)

    def account(self, *, first: int | None = None) -> Account:
        """Return where the examples are, after they were put on their sides; of the first that were kept, or all."""
        (counts,) = self._connection.execute(
            "SELECT COUNT(*) FILTER (WHERE side = 'training' AND class IS NOT NULL),"
            " COUNT(*) FILTER (WHERE side = 'training' AND class IS NULL),"
            " COUNT(*) FILTER (WHERE side = 'validation' AND is_evaluable),"
            " COUNT(*) FILTER (WHERE side = 'test' AND is_evaluable),"
            " COUNT(*) FILTER (WHERE side != 'training' AND NOT is_evaluable),"
            " COUNT(*) FILTER (WHERE side IS NULL) FROM examples WHERE id <= ?",
            (self.count() if first is None else first,),
        )
        return Account._make((*counts, self.repeats))

    def texts(self, side: Side, *, with_unlabelled: bool = False) -> Iterator[str]:
        """Yield a side's texts, oldest row first, those without a class only if asked for."""
        yield from (row[0] for row in self._select("text", side, with_unlabelled=with_unlabelled))

    def classes(self, side: Side, *, with_unlabelled: bool = False) -> npt.NDArray[np.int64]:
        """Return a side's class indices in step with `texts`, shape (examples,); -1 for one without a class."""
        rows = self._select("COALESCE(class, -1)", side, with_unlabelled=with_unlabelled)
        return np.fromiter((row[0] for row in rows), dtype=np.int64)

    def categories(self, side: Side) -> Iterator[str]:
        """Yield a side's product categories in step with `texts`, `unknown` where there is none."""
        yield from (row[0] for row in self._select("COALESCE(category, 'unknown')", side, with_unlabelled=False))

    def seen_keys(self, side: Side) -> Iterator[tuple[bytes, bytes]]:
        """Yield (text key, customer key) of a side's examples, labelled or not."""
        yield from self._select("key, customer", side, with_unlabelled=True)

    def sha256(self) -> str:
        """Return a hash of all that decides the sides and the batches: every example without its category, in order."""
        digest = hashlib.sha256()
        for row in self._connection.execute(
            "SELECT text, customer, class, timestamp, is_train_only FROM examples ORDER BY id"
        ):
            digest.update(repr(row).encode(errors="surrogatepass"))
        return digest.hexdigest()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn a full disk into a TrainingError; what a function of ours raised, such as Ctrl-C's, stays what it is."""
        self._raised: BaseException | None = None
        try:
            yield
        except sqlite3.Error as exc:
            if self._raised is not None:
                raise self._raised from None
            raise TrainingError(f"cannot keep the reviews in {self._path} ({exc}); make room there") from exc

    def _kept(self, function: Callable[..., str]) -> Callable[..., str]:
        """Return a function for SQL, whose exceptions sqlite3 would hide."""

        def call(*arguments: object) -> str:
            try:
                return function(*arguments)
            except BaseException as exc:
                self._raised = exc
                raise

        return call

    def _select(self, columns: str, side: Side, *, with_unlabelled: bool) -> Iterator[tuple]:  # type: ignore[type-arg]  # what SQL gives
        labelled = "" if with_unlabelled else "AND class IS NOT NULL"
        kept = "" if side is Side.training else "AND is_evaluable"
        query = f"SELECT {columns} FROM examples WHERE side = ? {labelled} {kept} ORDER BY id"  # noqa: S608
        cursor = self._connection.execute(query, (side,))
        while rows := cursor.fetchmany(_READ_ROWS):
            yield from rows

    def _cutoffs(self, plan: SplitPlan) -> Cutoffs:
        dated = "timestamp IS NOT NULL AND is_evaluable"
        (count,) = self._connection.execute(f"SELECT COUNT(*) FROM examples WHERE {dated}").fetchone()  # noqa: S608

        def time_before(newest: float) -> int | None:
            if round(count * newest) == 0:
                return None
            query = f"SELECT timestamp FROM examples WHERE {dated} ORDER BY timestamp DESC LIMIT 1 OFFSET ?"  # noqa: S608
            (timestamp,) = self._connection.execute(query, (round(count * newest) - 1,)).fetchone()
            query = f"SELECT COUNT(*) FROM examples WHERE {dated} AND timestamp >= ?"  # noqa: S608
            (as_new,) = self._connection.execute(query, (timestamp,)).fetchone()
            if as_new > MOST_OF_ONE_TIME * count * newest:
                log.warning("%d reviews bear one time or a later one: nothing is set apart by time", as_new)
                return None
            return int(timestamp)

        test_part = plan.test_share * plan.later_share
        both = test_part + plan.validation_share * plan.later_share
        return Cutoffs(validation=time_before(both), test=time_before(test_part))


def _row(example: Example) -> tuple[object, ...]:
    label = None if example.rating is None else class_of_stars(example.rating)
    keys = text_key(example.text), customer_key(example)
    return (*keys, example.text, label, example.timestamp, example.category, example.is_train_only)


_TABLES: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE examples (
    id INTEGER PRIMARY KEY, key BLOB UNIQUE, customer BLOB, text TEXT, class INTEGER, timestamp INTEGER,
    category TEXT, is_train_only INTEGER, side TEXT,
    is_evaluable INTEGER AS (class IS NOT NULL AND NOT is_train_only)
);
CREATE INDEX examples_by_customer ON examples (customer);
CREATE TABLE customers (customer BLOB PRIMARY KEY, side TEXT);
"""

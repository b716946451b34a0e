"""Token ids of many texts, kept flat: a million reviews take some 250 MB."""

import itertools
from array import array
from collections.abc import Iterable, Iterator
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

_TEXTS: Final = 1_000


class Tokens:
    """Rows of token ids, each of its own length."""

    def __init__(self, ids: npt.NDArray[np.int32], ends: npt.NDArray[np.int64]) -> None:
        self.ids = ids  # (all tokens,)
        self._starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        self._ends = ends  # (rows,)

    @classmethod
    def of_texts(cls, tokenizer: Tokenizer, texts: Iterable[str], max_tokens: int | None) -> Self:
        """Return the texts' token ids, at most max_tokens of each where that is set; hardly more is held on the way."""
        ids, ends = array("i"), array("q")  # they grow in place, and numpy reads them where they are
        for row in token_rows(tokenizer, texts, max_tokens):
            ids.frombytes(row.tobytes())
            ends.append(len(ids))
        return cls(np.asarray(ids, dtype=np.int32), np.asarray(ends, dtype=np.int64))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> npt.NDArray[np.int32]:
        return self.ids[self._starts[row] : self._ends[row]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens in each row, shape (rows,)."""
        return self._ends - self._starts


def token_rows(tokenizer: Tokenizer, texts: Iterable[str], max_tokens: int | None) -> Iterator[npt.NDArray[np.int32]]:
    """Yield each text's token ids, at most max_tokens of them where that is set."""
    tokenizer.no_padding()
    if max_tokens is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(max_tokens)
    iterator = iter(texts)
    while part := list(itertools.islice(iterator, _TEXTS)):
        for encoding in tokenizer.encode_batch_fast(part):
            yield np.array(encoding.ids, dtype=np.int32)

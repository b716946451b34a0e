"""The latest reading, for all browsers, without ever waiting long for the store."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Thread
from typing import Final

from dashboard.reader import Reading, Unreadable

SLOW_SECONDS: Final = 5.0
"""A store that takes longer than this for one answer is shown as unreadable."""


@dataclass(frozen=True, slots=True)
class Asking:
    """The first answer of the store is still on its way."""


class Latest:
    """Asks one question at a time in a thread of its own; all calls must come from one event loop.

    A locked store may hold a question for half a minute. Meanwhile a caller gets the reading before.
    """

    def __init__(self, read: Callable[[datetime], Reading], patience_seconds: float) -> None:
        """Read by `read`; a call waits patience_seconds at most."""
        self._read = read
        self._patience_seconds = patience_seconds
        self._question: Future[Reading] | None = None
        self._asked_at: datetime | None = None
        self._reading: Reading | Asking = Asking()

    async def reading(self, now: datetime) -> Reading | Asking:
        """Return the reading at `now`, or the one before while the store takes its time."""
        if self._question is None or self._asked_at is None:
            self._question, self._asked_at = _in_thread(self._read, now), now
        question, asked_at = self._question, self._asked_at
        await asyncio.wait({asyncio.wrap_future(question)}, timeout=self._patience_seconds)
        if question.done():
            self._forget(question)
            self._reading = question.result()
        elif now - asked_at > timedelta(seconds=SLOW_SECONDS):
            return Unreadable("the store does not answer; another process may hold it locked")
        return self._reading

    def _forget(self, question: "Future[Reading]") -> None:
        if self._question is question:
            self._question = self._asked_at = None


def _in_thread(read: Callable[[datetime], Reading], now: datetime) -> "Future[Reading]":
    """Return the future answer of read(now); the thread is a daemon, so that it never delays the end."""
    future: Future[Reading] = Future()

    def answer() -> None:
        try:
            future.set_result(read(now))
        except BaseException as exc:  # noqa: BLE001 - not swallowed: whoever asks for the result gets it
            future.set_exception(exc)

    Thread(target=answer, name="store-reader", daemon=True).start()
    return future

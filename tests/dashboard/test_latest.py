"""A slow store never holds up the page."""

import asyncio
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from dashboard.latest import SLOW_SECONDS, Asking, Latest
from dashboard.reader import Missing, Reading, Unreadable

NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
TOO_LATE = NOW + timedelta(seconds=SLOW_SECONDS + 1)


class SlowStore:
    """Answers when it is let; counts the questions."""

    def __init__(self) -> None:
        self.let = Event()
        self.questions = 0

    def read(self, _now: datetime) -> Reading:
        self.questions += 1
        self.let.wait(timeout=30)
        return Missing(f"place {self.questions}")


def test_while_the_first_answer_is_on_its_way_the_page_says_so() -> None:
    store = SlowStore()

    async def ask() -> tuple[object, object]:
        latest = Latest(store.read, patience_seconds=0.02)
        early = await latest.reading(NOW)
        store.let.set()
        return early, await latest.reading(NOW)

    assert asyncio.run(ask()) == (Asking(), Missing("place 1"))


def test_while_the_store_takes_its_time_the_reading_before_is_shown_and_no_second_question_asked() -> None:
    store = SlowStore()

    async def ask() -> tuple[object, object]:
        latest = Latest(store.read, patience_seconds=0.02)
        store.let.set()
        first = await latest.reading(NOW)
        store.let.clear()
        slow = [await latest.reading(NOW + timedelta(seconds=1)) for _ in range(3)]
        return first, slow

    assert asyncio.run(ask()) == (Missing("place 1"), [Missing("place 1")] * 3)
    assert store.questions == 2
    store.let.set()


def test_a_store_that_does_not_answer_is_unreadable_until_it_does() -> None:
    store = SlowStore()

    async def ask() -> tuple[object, object]:
        latest = Latest(store.read, patience_seconds=0.02)
        await latest.reading(NOW)
        silent = await latest.reading(TOO_LATE)
        store.let.set()
        return silent, await latest.reading(TOO_LATE)

    silent, answered = asyncio.run(ask())
    assert isinstance(silent, Unreadable)
    assert answered == Missing("place 1")


def test_browsers_that_ask_at_once_share_one_question() -> None:
    store = SlowStore()

    async def ask() -> list[object]:
        latest = Latest(store.read, patience_seconds=5)
        asyncio.get_running_loop().call_later(0.02, store.let.set)
        return await asyncio.gather(*(latest.reading(NOW) for _ in range(4)))

    assert asyncio.run(ask()) == [Missing("place 1")] * 4


def test_an_unexpected_failure_reaches_whoever_asked_and_does_not_stick() -> None:
    answers: list[Reading | Exception] = [ZeroDivisionError("a fault"), Missing("place")]

    def read(_now: datetime) -> Reading:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask() -> object:
        latest = Latest(read, patience_seconds=5)
        with pytest.raises(ZeroDivisionError):
            await latest.reading(NOW)
        return await latest.reading(NOW)

    assert asyncio.run(ask()) == Missing("place")

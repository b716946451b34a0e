"""Progress is a bar on a terminal and a line every few seconds elsewhere."""

import io

import pytest
from rich.console import Console

from reviewpulse.progress import PlainProgress, RateMeter, Status, TerminalProgress, plain_line, progress_on
from tests.producer.fakes import FakeClock


def test_plain_lines_come_every_few_seconds_and_no_more() -> None:
    stream, clock = io.StringIO(), FakeClock()
    with PlainProgress(stream, "publish", every_seconds=5, clock=clock) as progress:
        for second in range(1, 13):
            clock.now = second
            progress.show(Status(second, 20, f"{second} reviews"))
    assert stream.getvalue() == "publish: 25%, 5 reviews, 0:15 left\npublish: 50%, 10 reviews, 0:10 left\n"


@pytest.mark.parametrize(
    "status", [Status(0, 10, "note"), Status(0, 0, "note"), Status(5, None, "note"), Status(10, 10, "")]
)
def test_no_status_is_beyond_words(status: Status) -> None:
    assert status.note in plain_line(status, elapsed_seconds=0)


def test_a_terminal_gets_a_bar_and_a_pipe_gets_lines() -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=120)
    with progress_on(terminal, "publish") as progress:
        assert isinstance(progress, TerminalProgress)
        progress.show(Status(50, 100, "1,234 reviews, 99/s"))
    assert "1,234 reviews, 99/s" in stream.getvalue()
    assert "50%" in stream.getvalue()
    assert isinstance(progress_on(Console(file=io.StringIO()), "publish"), PlainProgress)


def test_a_file_name_in_a_note_is_neither_markup_nor_a_command() -> None:
    """A file `[/].jsonl` ended the command, and one with an escape in its name steered the terminal."""
    note = "reading [/]\x1b[2J\x9b31m.jsonl"
    screen, pipe, clock = io.StringIO(), io.StringIO(), FakeClock()
    with TerminalProgress(Console(file=screen, force_terminal=True, width=120), "eda") as bar:
        bar.show(Status(1, 2, note))
    with PlainProgress(pipe, "eda", every_seconds=5, clock=clock) as progress:
        clock.now = 5
        progress.show(Status(1, None, note))

    assert r"reading [/]\x1b[2J\x9b31m.jsonl" in screen.getvalue()
    assert pipe.getvalue() == "eda: reading [/]\\x1b[2J\\x9b31m.jsonl\n"


def test_a_rate_is_that_of_the_last_seconds() -> None:
    meter = RateMeter()
    assert meter.rate_per_second(0, now=0) == 0
    assert meter.rate_per_second(100, now=1) == 100
    for second in range(2, 30):
        rate = meter.rate_per_second(100 + second, now=second)
    assert rate == 1

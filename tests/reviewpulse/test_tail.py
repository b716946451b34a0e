import io
import json
import re

import pytest
from rich.console import Console

from reviewpulse.errors import BrokerError
from reviewpulse.settings import KafkaSettings
from reviewpulse.tail import TailRecord, follow, print_records

PREDICTION = {
    "review_id": "r1",
    "label": "negative",
    "stars": 2,
    "confidence": 0.7,
    "probabilities": {"very negative": 0.1, "negative": 0.7, "neutral": 0.1, "positive": 0.05, "very positive": 0.05},
    "rating": 2.0,
    "model_name": "tiny",
    "model_version": "1",
    "reviewed_at": None,
    "scored_at": "2026-01-02T00:00:00Z",
    "source_topic": "reviews",
    "source_partition": 0,
    "source_offset": 5,
}


def record(value: bytes | None, **headers: str) -> TailRecord:
    return TailRecord(1, 7, value, headers)


def pretty(tail: TailRecord, followed: str) -> str:
    screen = io.StringIO()
    print_records([tail], followed, None, Console(file=screen, force_terminal=True, no_color=True, width=200))  # type: ignore[arg-type]
    return screen.getvalue()


def test_a_terminal_shows_the_verdict_and_what_the_customer_gave() -> None:
    shown = pretty(record(json.dumps(PREDICTION).encode()), "predictions")

    assert "negative" in shown
    assert "70%" in shown
    assert "review r1 rated 2" in shown


def test_review_text_is_never_taken_for_markup() -> None:
    shown = pretty(record(b'{"text": "[bold]loud[/bold] \\u001b[31mred", "rating": 4}'), "reviews")

    assert "[bold]loud[/bold]" in shown
    assert "\x1b[31m" not in shown


def test_a_malformed_record_is_shown_with_its_reason() -> None:
    assert "not a review" in pretty(record(b"{broken"), "reviews")
    assert "no text" in pretty(record(b"{}", reason="no text"), "rejected")
    assert "(no value)" in pretty(record(None, reason="empty value"), "rejected")


@pytest.mark.parametrize("value", [b'{"text": "a",\n "rating": 5}', b"{broken", b"\xff\xfe", None])
@pytest.mark.parametrize("followed", ["predictions", "reviews", "rejected"])
def test_a_pipe_gets_one_json_object_a_line_whatever_the_record(value: bytes | None, followed: str) -> None:
    line = record(value, reason="why").as_json(followed)  # type: ignore[arg-type]

    assert b"\n" not in line
    assert isinstance(json.loads(line), dict)


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize("value", [DEEP, b'{"review_id": "\xff"}', b'{"text": "\xff"}'])
@pytest.mark.parametrize("followed", ["predictions", "reviews", "rejected"])
def test_a_poisoned_record_does_not_end_the_command(value: bytes, followed: str) -> None:
    """Deep JSON in a pipe and half a character in a prediction on a terminal were tracebacks."""
    assert json.loads(record(value).as_json(followed))["raw"] == value.decode(errors="backslashreplace")  # type: ignore[arg-type]
    assert "1/7 " in pretty(record(value), followed)


def test_no_kafka_is_a_clear_error() -> None:
    with pytest.raises(BrokerError, match=r"no Kafka answers at 127\.0\.0\.1:1"):
        next(follow(KafkaSettings(broker="127.0.0.1:1", connect_seconds=0.3), "reviews", from_beginning=True))


COMMANDS = "\x00\x07\x08\x1b[31m\x1b]8;;http://x\x07\x1b[2J\x7f\x9b31m\x90q\u061c\u200e\u202e\u2028\u2066"
"""To a terminal: a bell, steps back, colours, a link, an empty screen, and changes of direction."""


def hostile(text: str) -> list[tuple[str, TailRecord]]:
    """Return a record for each place in which foreign text may stand."""
    fields = dict.fromkeys(("text", "title", "review_id", "asin", "category", "user_id"), text)
    return [
        ("reviews", record(json.dumps(fields, ensure_ascii=False).encode())),
        ("reviews", record(text.encode())),
        ("reviews", record(json.dumps({"text": 1, text: text}).encode())),
        ("predictions", record(json.dumps(PREDICTION | {"review_id": text}, ensure_ascii=False).encode())),
        ("predictions", record(text.encode())),
        ("rejected", record(text.encode(), reason=text)),
    ]


def test_nothing_in_a_record_commands_a_terminal() -> None:
    for followed, tail in hostile(f"before {COMMANDS} after"):
        shown = pretty(tail, followed)
        assert not {sign for sign in re.sub(r"\x1b\[[\d;]*m", "", shown) if not sign.isprintable()} - {"\n"}, shown
        styles = set(re.findall(r"\x1b\[([\d;]*)m", shown))
        assert styles <= {"0", "2", "1;2"}, shown  # bold and dim, which is what `_pretty` does without colours
        line = tail.as_json(followed).decode()  # type: ignore[arg-type]
        assert line.isprintable(), line
        json.loads(line)


def test_rich_markup_in_a_record_is_shown_as_it_is() -> None:
    markup = "[bold]loud[/bold] [link=http://x]here[/link] [/] :smile: http://x"
    for followed, tail in hostile(markup):
        shown = pretty(tail, followed)
        assert "[link=http://x]here[/link] [/] :smile:" in shown, shown
        assert "\x1b]8" not in shown


def test_the_json_of_a_pipe_means_the_same_as_the_record() -> None:
    value = json.dumps({"text": f"x{COMMANDS}y"}, ensure_ascii=False).encode()

    assert json.loads(record(value).as_json("reviews")) == json.loads(value)

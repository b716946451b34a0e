import io
import json

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


def test_no_kafka_is_a_clear_error() -> None:
    with pytest.raises(BrokerError, match=r"no Kafka answers at 127\.0\.0\.1:1"):
        next(follow(KafkaSettings(broker="127.0.0.1:1", connect_seconds=0.3), "reviews", from_beginning=True))

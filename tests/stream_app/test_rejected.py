"""What `rejected` makes of records, without a broker."""

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reviewpulse.errors import BrokerError, RejectedError
from reviewpulse.progress import SilentProgress
from reviewpulse.records import LATEST_TIMESTAMP, TextLimit, to_milliseconds
from reviewpulse.settings import KafkaSettings
from stream_app import rejected, replay

NOWHERE = KafkaSettings(broker="127.0.0.1:1", connect_seconds=0.3)


def test_a_record_of_a_time_that_no_calendar_has_is_listed_at_the_last_one() -> None:
    record: Any = SimpleNamespace(partition=0, offset=7, timestamp=2**62, value=b"{", headers=[("reason", b"late")])

    (_, line) = rejected.list_lines([rejected.as_rejected(record)], 120)

    assert line.startswith("0/7        9999-12-31 23:59:59")
    assert to_milliseconds(rejected.as_rejected(record).rejected_at) == LATEST_TIMESTAMP


@pytest.mark.parametrize("place", ["0/99999999999999999999999", f"0/{2**63}", "9" * 5_000 + "/1", "0/-1", "0", "/"])
def test_a_place_that_kafka_cannot_have_is_none_without_asking(place: str) -> None:
    """Kafka was asked for ten seconds and then blamed."""
    with pytest.raises(RejectedError, match="is no place; write PARTITION/OFFSET"):
        rejected.find_rejected(NOWHERE, place)


def test_an_age_of_thousands_of_digits_is_no_time() -> None:
    with pytest.raises(RejectedError, match="is no time"):
        rejected.parse_since("9" * 5_000 + "d", datetime(2026, 1, 2, tzinfo=UTC))


def test_a_list_without_kafka_has_no_heading() -> None:
    lines = rejected.list_lines(rejected.read_rejected(NOWHERE, rejected.Filter()), 80)

    with pytest.raises(BrokerError):
        next(lines)


def test_an_empty_list_has_a_heading() -> None:
    assert [line.split()[0] for line in rejected.list_lines([], 80)] == ["place"]


def mended(folder: Path, **changes: object) -> replay.Candidates:
    """Return what a file with one mended line holds."""
    line = {
        "place": "0/1",
        "event_id": "e",
        "reason": "r",
        "rejected_at": "2026-01-01T00:00:00Z",
        "source_topic": "reviews",
        "source_partition": 0,
        "source_offset": 1,
        "value_bytes": 15,
        "value": '{"text": "fine"}',
    }
    (folder / "mended.jsonl").write_text(json.dumps(line | changes) + "\n")
    return replay.from_file(folder / "mended.jsonl")


@pytest.mark.parametrize("text", ["\u00e9", "a", "=="])
def test_a_value_base64_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(RejectedError, match="value_base64 of 0/1 is no base64"):
        list(mended(tmp_path, value_base64=text)())


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_mended_line_of_any_year_leads_to_kafka(tmp_path: Path, moment: str) -> None:
    """The year 1 was an OverflowError."""
    with pytest.raises(BrokerError, match=r"no Kafka answers at 127\.0\.0\.1:1"):
        replay.make_plan(
            NOWHERE, mended(tmp_path, rejected_at=moment), TextLimit(), is_again=False, progress=SilentProgress()
        )


@pytest.mark.parametrize(
    ("editor", "said"), [('"', "VISUAL or EDITOR is no command"), (" ", "needs an editor"), ("", "needs an editor")]
)
def test_an_editor_that_is_no_command_is_named(monkeypatch: pytest.MonkeyPatch, editor: str, said: str) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", editor)

    with pytest.raises(RejectedError, match=said), replay.edited(NOWHERE, rejected.Filter()):
        pass

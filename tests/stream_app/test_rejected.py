"""What `rejected` makes of records, without a broker."""

from types import SimpleNamespace
from typing import Any

from reviewpulse.records import LATEST_TIMESTAMP, to_milliseconds
from stream_app import rejected


def test_a_record_of_a_time_that_no_calendar_has_is_listed_at_the_last_one() -> None:
    record: Any = SimpleNamespace(partition=0, offset=7, timestamp=2**62, value=b"{", headers=[("reason", b"late")])

    (_, line) = rejected.list_lines([rejected.as_rejected(record)], 120)

    assert line.startswith("0/7        9999-12-31 23:59:59")
    assert to_milliseconds(rejected.as_rejected(record).rejected_at) == LATEST_TIMESTAMP

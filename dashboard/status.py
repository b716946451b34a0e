"""How the store and the worker are, in one sentence."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final, Literal

from dashboard.latest import Asking
from dashboard.queries import Lag, Snapshot
from dashboard.reader import Missing, Reading, Unreadable
from dashboard.words import clock, count

SILENT_SECONDS: Final = 15
"""A worker that was killed is replaced within 13 seconds; a silence longer than this deserves a look."""

Kind = Literal["live", "waiting", "silent", "unreadable"]


@dataclass(frozen=True, slots=True)
class Status:
    """What kind of state it is, for the colour, and the sentence that says it."""

    kind: Kind
    sentence: str


def status_of(reading: Reading | Asking, now: datetime, zone: timezone) -> Status:
    """Return the state that the page shows above everything else, times in the viewer's zone."""
    match reading:
        case Asking():
            return Status("waiting", "Asking the store for its first answer.")
        case Missing(place):
            return Status("waiting", f"Waiting for the worker to make the store at {place}; run 'reviewpulse work'.")
        case Unreadable(reason):
            return Status("unreadable", f"{reason[0].upper()}{reason[1:]}.")
        case Snapshot():
            return _of_snapshot(reading, now, zone)


def _of_snapshot(snapshot: Snapshot, now: datetime, zone: timezone) -> Status:
    seen_at = snapshot.worker_seen_at
    if seen_at is None:
        return Status("waiting", "The store is empty: waiting for the first review.")
    if now - seen_at > timedelta(seconds=SILENT_SECONDS):
        return Status(
            "silent", f"Nothing from the worker since {clock(seen_at, now, zone)}: {_why_silent(snapshot.lag)}."
        )
    return Status("live", f"Live. Last update {clock(snapshot.taken_at, now, zone)}.")


def _why_silent(lag: Lag | None) -> str:
    if lag is not None and lag.records:
        return f"{count(lag.records)} records were waiting then, so it has stopped or is stuck"
    return "no reviews arrive, or it has stopped"

"""Sends rejected records to the reviews topic again: as they are, or mended."""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from kafka import KafkaProducer
from kafka.errors import KafkaError

from reviewpulse.broker import client_options, unreachable
from reviewpulse.errors import BrokerError, RejectedError, ReviewpulseError
from reviewpulse.progress import Progress, Status
from reviewpulse.records import NOT_JSON, Rejected, TextLimit, decode_review, from_milliseconds, to_milliseconds
from reviewpulse.settings import KafkaSettings
from stream_app.rejected import Filter, Line, OriginalBytes, json_line, read_rejected
from stream_app.topic_reader import TopicReader

REPLAY_OF: Final = "replay_of"
"""Header of a replayed record: the event id of the record that was rejected."""

REPLAY_PLACE: Final = "replay_place"
"""Header of a replayed record: where that lies in the rejected topic."""

CLOCKS_DIFFER: Final = timedelta(hours=1)
"""At most, between the machines of a worker and of who replays."""

EPOCH: Final = from_milliseconds(0)
"""No record is older, whatever a mended file says."""

CONFIRM_SECONDS: Final = 60.0
"""How long Kafka may take to confirm what was sent."""

_SENT_AT_ONCE: Final = 500
_MOST_BYTES: Final = 100_000_000  # of one record: the broker's own limit is the one that counts


class Candidate(NamedTuple):
    """A rejected record, or a mended one, that may be sent again; without raw, why its bytes cannot be had."""

    place: str
    event_id: str
    rejected_at: datetime
    raw: bytes | None
    trouble: str | None

    def refusal(self, limit: TextLimit) -> str | None:
        """Why it would be rejected again, None when it would not."""
        review = decode_review(self.raw, limit)
        return self.trouble or (review.reason if isinstance(review, Rejected) else None)


Candidates = Callable[[], Iterator[Candidate]]
"""Reads the candidates anew each time, so that they need not be in memory at once."""


class Plan(NamedTuple):
    """What a replay would do: event ids to send, and how many are left out because of what."""

    chosen: frozenset[str]
    refused: int
    replayed: int
    first_refused: list[str]


def from_topic(kafka: KafkaSettings, wanted: Filter) -> Candidates:
    """Return candidates as they are in the rejected topic."""

    def read() -> Iterator[Candidate]:
        with OriginalBytes(kafka) as original:
            for record in read_rejected(kafka, wanted):
                try:
                    yield Candidate(record.place, record.event_id, record.rejected_at, original.of(record), None)
                except RejectedError as exc:
                    yield Candidate(record.place, record.event_id, record.rejected_at, None, str(exc))

    return read


def from_file(path: Path) -> Candidates:
    """Return candidates as they are in a file of JSON lines that `rejected list --json` wrote and someone mended."""

    def read() -> Iterator[Candidate]:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield _candidate(line, path, number)
        except OSError as exc:
            raise RejectedError(f"cannot read {path}: {exc.strerror}") from exc

    return read


@contextlib.contextmanager
def edited(kafka: KafkaSettings, wanted: Filter) -> Iterator[Candidates]:
    """Let the user mend records in $VISUAL or $EDITOR; the block gets what was saved.

    An error of the block keeps the file, and ends with how to go on with it.
    """
    command = _editor()
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="reviewpulse-rejected-"))
        stack.callback(shutil.rmtree, folder)
        path = folder / "rejected.jsonl"
        _write_lines(kafka, wanted, path)
        try:
            code = subprocess.run([*command, str(path)], check=False).returncode
        except OSError as exc:
            raise RejectedError(f"cannot start the editor {shlex.join(command)}: {exc.strerror}; set EDITOR") from exc
        if code != 0:
            raise RejectedError(f"the editor {shlex.join(command)} ended with exit code {code}; nothing was sent")
        try:
            yield from_file(path)
        except ReviewpulseError as exc:
            stack.pop_all()
            raise type(exc)(
                f"{exc}; your edits are kept: mend that and run 'reviewpulse rejected replay --from {path}'"
            ) from exc


def make_plan(
    kafka: KafkaSettings, candidates: Candidates, limit: TextLimit, *, is_again: bool, progress: Progress
) -> Plan:
    """Return what to send: what the decoder takes within the limit and, unless is_again, was not replayed before.

    Raises BrokerError, and RejectedError for a file that cannot be read.
    """
    chosen, refused, first_refused = set[str](), 0, list[str]()
    oldest = datetime.max.replace(tzinfo=UTC)
    for candidate in candidates():
        refusal = candidate.refusal(limit)
        if refusal is None:
            chosen.add(candidate.event_id)
            oldest = min(oldest, candidate.rejected_at)
            continue
        refused += 1
        if len(first_refused) < 5:
            first_refused.append(f"{candidate.place}: {refusal}")
    before = (
        set() if is_again or not chosen else replayed_of(kafka, chosen, max(oldest, EPOCH) - CLOCKS_DIFFER, progress)
    )
    return Plan(frozenset(chosen - before), refused, len(before), first_refused)


def replayed_of(kafka: KafkaSettings, event_ids: set[str], since: datetime, progress: Progress) -> set[str]:
    """Return which of these were replayed after a moment: whose event id a header in the reviews topic names."""
    found = set[str]()
    with TopicReader(kafka, kafka.reviews_topic) as reader:
        # A partition that offsets_at leaves out has no later records.
        starts = reader.ends() | reader.offsets_at(max(to_milliseconds(since), 0))
        for count, record in enumerate(reader.all_records(starts)):
            if count % 10_000 == 0:
                progress.show(Status(count, None, f"looking for earlier replays, {count:,} records read"))
            for name, value in record.headers:
                if name == REPLAY_OF and (event_id := (value or b"").decode(errors="replace")) in event_ids:
                    found.add(event_id)
    return found


def send(
    kafka: KafkaSettings, candidates: Candidates, chosen: frozenset[str], limit: TextLimit, progress: Progress
) -> int:
    """Send the chosen candidates, each event id once, and return how many Kafka has confirmed.

    Raises BrokerError when it did not confirm them all; those may be sent again, they are known by their header.
    """
    try:
        producer = KafkaProducer(
            **client_options(kafka), acks="all", max_request_size=_MOST_BYTES, metrics_enabled=False
        )
    except (KafkaError, ValueError, OSError) as exc:
        raise unreachable(kafka, exc) from exc
    left, sent = set(chosen), 0
    try:
        deliveries = []
        for candidate in candidates():
            if candidate.event_id in left and candidate.refusal(limit) is None:
                left.discard(candidate.event_id)
                deliveries.append(producer.send(kafka.reviews_topic, **_record(candidate)))
            if len(deliveries) >= _SENT_AT_ONCE:
                sent += _confirmed(producer, deliveries)
                deliveries = []
                progress.show(Status(sent, len(chosen), f"{sent:,} sent again"))
        return sent + _confirmed(producer, deliveries)
    except KafkaError as exc:
        raise BrokerError(
            f"Kafka at {kafka.broker} did not take all records ({exc}); {sent:,} are confirmed: "
            "run the same again, what has arrived is not sent twice"
        ) from exc
    finally:
        with contextlib.suppress(KafkaError):
            producer.close(timeout=1)


def _editor() -> list[str]:
    """Return the user's editor as the words of a command; raises RejectedError."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = shlex.split(command)
    except ValueError as exc:
        raise RejectedError(f"VISUAL or EDITOR is no command: {command} ({exc}); set EDITOR") from exc
    if not words:
        raise RejectedError("--edit needs an editor: set EDITOR, or use 'rejected list --json' and replay --from")
    return words


def _write_lines(kafka: KafkaSettings, wanted: Filter, path: Path) -> None:
    with OriginalBytes(kafka) as original, path.open("wb") as file:
        for record in read_rejected(kafka, wanted):
            file.write(msgspec.json.encode(json_line(record, original.of)) + b"\n")


def _record(candidate: Candidate) -> dict[str, object]:
    review = decode_review(candidate.raw)
    key = None if isinstance(review, Rejected) else (review.review_id or "").encode(errors="replace")
    headers = [(REPLAY_OF, candidate.event_id.encode()), (REPLAY_PLACE, candidate.place.encode())]
    return {"key": key, "value": candidate.raw, "headers": headers}


def _confirmed(producer: KafkaProducer, deliveries: list[object]) -> int:
    producer.flush(timeout=CONFIRM_SECONDS)
    for delivery in deliveries:
        delivery.get(timeout=CONFIRM_SECONDS)  # type: ignore[attr-defined]  # kafka-python has no types
    return len(deliveries)


def _candidate(line: bytes, path: Path, number: int) -> Candidate:
    try:
        mended = msgspec.json.decode(line, type=Line)
    except NOT_JSON as exc:
        raise RejectedError(f"{path}:{number} is no line of 'rejected list --json' ({exc}); nothing was sent") from exc
    return Candidate(mended.place, mended.event_id, mended.rejected_at, mended.raw, None)

"""`reviewpulse rejected` on both brokers: broken records are listed, shown, mended, sent again and scored."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from reviewpulse.broker import SourceReader, client_options, ensure_topics
from reviewpulse.records import Origin, Rejected
from reviewpulse.settings import KafkaSettings
from stream_app.topics import rejection_headers
from tests.integration.processes import Desk, wait_until

HOSTILE = b'\x1b]0;owned\x07{"text": "\x1b[31mred \xc2\x9b2J \xe2\x80\xae" \xff'


@pytest.fixture
def desk(tmp_path: Path, kafka: KafkaSettings, tiny_checkpoint: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, kafka, tiny_checkpoint)
    ensure_topics(kafka)
    yield desk
    desk.clear()


def reject(desk: Desk, value: bytes | None, reason: str, *more: tuple[str, bytes], offset: int = 0) -> None:
    """Put a record on the rejected topic as the worker does."""
    with contextlib.closing(SourceReader(desk.kafka)) as which:
        origin = Origin(which.read(), 0, offset)
    headers = [*rejection_headers(origin, Rejected(value, reason)), *more]
    with contextlib.closing(KafkaProducer(**client_options(desk.kafka))) as producer:
        producer.send(desk.kafka.rejected_topic, key=b"k", value=value, headers=headers)
        producer.flush()


def listed(desk: Desk, *options: str) -> list[dict[str, Any]]:
    code, output = desk.run("rejected", "list", "--json", *options)
    assert code == 0, output
    return [json.loads(line) for line in output.splitlines()]


def stdout_of(desk: Desk, *arguments: str) -> bytes:
    command = [sys.executable, "-m", "reviewpulse", "rejected", *arguments]
    done = subprocess.run(command, cwd=desk.folder, env=desk.environment, capture_output=True, timeout=60, check=True)
    return done.stdout


def test_broken_records_are_mended_sent_again_and_scored_and_verify_passes(desk: Desk) -> None:
    desk.send(b'{"text": "good"}', b'{"text": "no end"', b'{"text": "five", "rating": "9"}', b"\xff\xfe")
    with desk.worker():
        wait_until(lambda: desk.count("rejections") == 3, "3 rejections")
        lines = sorted(listed(desk), key=lambda line: line["source_offset"])
        assert [line.get("value") for line in lines] == ['{"text": "no end"', '{"text": "five", "rating": "9"}', None]
        assert lines[2]["value_base64"] == "//4="
        mended = [lines[0] | {"value": '{"text": "no end"}'}, lines[1] | {"value": '{"text": "five"}'}, lines[2]]
        (desk.folder / "mended.jsonl").write_text("".join(json.dumps(line) + "\n" for line in mended))

        code, output = desk.run("rejected", "replay", "--from", "mended.jsonl")
        assert (code, "sent 2 to" in output, "would be rejected again, left out: 1" in output) == (0, True, True), (
            output
        )
        wait_until(lambda: desk.count("predictions") == 3, "the mended ones are scored")
        code, output = desk.run("rejected", "replay", "--from", "mended.jsonl")
        assert "to send: 0" in output, output
        assert "sent again before, left out: 2" in output

        code, output = desk.run("verify", "--complete")
    assert code == 0, output
    assert desk.count("rejections") == 3
    replayed = [headers for _, headers in desk.records(desk.kafka.reviews_topic) if headers]
    assert sorted(headers["replay_of"] for headers in replayed) == sorted(line["event_id"] for line in lines[:2])
    assert sorted(headers["replay_place"] for headers in replayed) == sorted(line["place"] for line in lines[:2])


def test_a_plain_replay_sends_what_the_decoder_now_takes_once_and_again_only_if_asked(desk: Desk) -> None:
    reject(desk, b'{"text": "the model failed"}', "the model failed on it: ValueError")
    reject(desk, b"{", "not a review", offset=1)

    dry = desk.run("rejected", "replay", "--all", "--dry-run")[1]
    outputs = [
        desk.run("rejected", "replay", *options)[1]
        for options in (("--reason", "MODEL"), ("--all",), ("--all", "--again"), ("--reason", "nothing like it"))
    ]

    assert "to send: 1" in dry
    assert "sent " not in dry
    assert ["sent 1 to" in output for output in outputs] == [True, False, True, False]
    assert "would be rejected again, left out: 1" in outputs[1]
    assert [value for value, _ in desk.records(desk.kafka.reviews_topic)] == [b'{"text": "the model failed"}'] * 2


def test_many_are_sent_only_after_a_yes(desk: Desk) -> None:
    for number in range(11):
        reject(desk, b'{"text": "%d"}' % number, "the model failed", offset=number)

    code, output = desk.run("rejected", "replay", "--all")
    assert (code, "send 11 records to" in output) == (1, True)
    code, output = desk.run("rejected", "replay", "--all", "--yes")

    assert (code, "sent 11 to" in output) == (0, True), output
    assert len(desk.records(desk.kafka.reviews_topic)) == 11


def test_an_editor_mends_them(desk: Desk) -> None:
    reject(desk, b'{"text": "a", "rating": 9}', "rating: expected `float` <= 5.0")
    (desk.folder / "mend.sh").write_text("#!/bin/sh\nsed -i 's/9}/5}/' \"$1\"\n")
    (desk.folder / "mend.sh").chmod(0o755)

    code, output = desk.run(
        "rejected", "replay", "--all", "--edit", EDITOR=str(desk.folder / "mend.sh"), TMPDIR=str(desk.folder)
    )

    assert code == 0, output
    assert not list(desk.folder.glob("reviewpulse-rejected-*"))
    assert [value for value, _ in desk.records(desk.kafka.reviews_topic)] == [b'{"text": "a", "rating": 5}']


def test_a_slip_in_the_editor_keeps_the_edits_for_another_try(desk: Desk) -> None:
    """They were deleted, and the error named the file that was gone."""
    reject(desk, b'{"text": "a", "rating": 9}', "rating: expected `float` <= 5.0")
    (desk.folder / "slip.sh").write_text("#!/bin/sh\nsed -i 's/9}/5}/; s/^{//' \"$1\"\n")
    (desk.folder / "slip.sh").chmod(0o755)

    settings = {"EDITOR": str(desk.folder / "slip.sh"), "TMPDIR": str(desk.folder)}
    code, output = desk.run("rejected", "replay", "--all", "--edit", **settings)

    [kept] = desk.folder.glob("reviewpulse-rejected-*/rejected.jsonl")
    assert code == 1
    assert output.endswith(f"mend that and run 'reviewpulse rejected replay --from {kept}'\n"), output
    kept.write_text("{" + kept.read_text())
    code, output = desk.run("rejected", "replay", "--from", str(kept))
    assert code == 0, output
    assert [value for value, _ in desk.records(desk.kafka.reviews_topic)] == [b'{"text": "a", "rating": 5}']


def test_nothing_that_steers_a_terminal_reaches_it_and_raw_bytes_are_exact(desk: Desk) -> None:
    reject(desk, HOSTILE, "bad \x1b[2J reason", ("x\x1b[1m", HOSTILE))

    for command in (["list"], ["list", "--json"], ["show", "{place}"], ["replay", "--all"]):
        place = listed(desk)[0]["place"]
        shown = stdout_of(desk, *(part.format(place=place) for part in command)).decode()
        assert all(letter.isprintable() or letter == "\n" for letter in shown), shown
    assert r"\x1b[31mred" in stdout_of(desk, "show", place).decode()
    assert stdout_of(desk, "show", place, "--raw") == HOSTILE
    stdout_of(desk, "show", place, "-o", "bytes")
    assert (desk.folder / "bytes").read_bytes() == HOSTILE


def test_raw_bytes_are_not_written_to_a_terminal(desk: Desk) -> None:
    reject(desk, HOSTILE, "hostile")
    master, slave = os.openpty()
    command = [sys.executable, "-m", "reviewpulse", "rejected", "show", listed(desk)[0]["place"], "--raw"]

    done = subprocess.run(command, env=desk.environment, stdout=slave, stderr=subprocess.PIPE, timeout=60)

    os.close(slave)
    os.close(master)
    assert (done.returncode, b"name a file with -o" in done.stderr) == (1, True)


def test_bytes_that_were_too_many_for_the_rejected_topic_come_from_the_reviews_topic(desk: Desk) -> None:
    value = b'{"text": "huge", "rating": 9}'
    for number in range(4):  # one in each partition, so that one is at 0/0
        send_to(desk, number, value)
    checksum = ("value_sha256", hashlib.sha256(value).hexdigest().encode())
    reject(desk, None, "rating", ("value_bytes", str(len(value)).encode()), checksum)
    reject(desk, None, "rating", ("value_bytes", b"29"), ("value_sha256", b"0" * 64), offset=7)

    first, second = listed(desk)

    assert (first["value"], first["value_bytes"]) == (value.decode(), len(value))
    assert (second.get("value"), second["value_bytes"]) == (None, 29)
    code, output = desk.run("rejected", "show", second["place"])
    assert (code, "no longer has them" in output) == (1, True)


ABSURD: list[dict[str, bytes | None]] = [
    {"value_bytes": b"9" * 5_000},
    {"value_bytes": b"9" * 20, "source_partition": b"9" * 5_000, "source_offset": b"9" * 19},
    {"source_partition": b"x", "source_offset": b"-1"},
    {"source_partition": None, "source_offset": None},
]
"""Changes to a worker's headers, such as another program may make; None takes one away."""


def test_records_with_absurd_headers_stop_no_command(desk: Desk) -> None:
    with contextlib.closing(SourceReader(desk.kafka)) as which:
        usual = dict(rejection_headers(Origin(which.read(), 0, 0), Rejected(None, "poisoned")))
    with contextlib.closing(KafkaProducer(**client_options(desk.kafka))) as producer:
        for absurd in ABSURD:
            given = usual | {"value_sha256": b"0" * 64} | absurd
            headers = [(name, value) for name, value in given.items() if value is not None]
            producer.send(desk.kafka.rejected_topic, key=b"k", headers=headers, partition=0)
        producer.flush()

    lines = listed(desk)

    assert [(line["reason"], line["value_bytes"]) for line in lines] == [("poisoned", 0)] * len(ABSURD)
    assert desk.run("rejected", "list")[1].count("poisoned") == len(ABSURD)
    assert "no longer has them" in desk.run("rejected", "show", lines[1]["place"])[1]
    assert f"would be rejected again, left out: {len(ABSURD)}" in desk.run("rejected", "replay", "--all")[1]


def send_to(desk: Desk, partition: int, value: bytes) -> None:
    with contextlib.closing(KafkaProducer(**client_options(desk.kafka))) as producer:
        producer.send(desk.kafka.reviews_topic, value=value, partition=partition)
        producer.flush()


def test_they_are_listed_newest_last_and_filtered(desk: Desk) -> None:
    for number in range(5):
        reject(desk, b"%d" % number, f"reason {number}", offset=number)

    assert [line["value"] for line in listed(desk)] == ["0", "1", "2", "3", "4"]
    assert [line["value"] for line in listed(desk, "--reason", "N 3")] == ["3"]
    assert len(listed(desk, "--since", "10m")) == 5
    assert listed(desk, "--since", "2999-01-01") == []


def test_a_flood_of_them_is_listed_in_order_and_replayed(desk: Desk) -> None:
    """All three commands stopped after some 2,400 of these."""
    count, value = 12_000, b'{"text": "%s"}' % (b"x" * 500)
    with contextlib.closing(SourceReader(desk.kafka)) as which:
        source = which.read()
    with contextlib.closing(KafkaProducer(**client_options(desk.kafka))) as producer:
        for number in range(count):
            headers = rejection_headers(Origin(source, 0, number), Rejected(value, "the model failed on it"))
            producer.send(desk.kafka.rejected_topic, value=value, headers=headers, partition=number * number % 7 % 4)
        producer.flush()

    lines = listed(desk)

    times = [datetime.fromisoformat(line["rejected_at"]) for line in lines]
    assert times == sorted(times)
    assert sorted(line["source_offset"] for line in lines) == list(range(count))
    assert desk.run("rejected", "list")[1].count("the model failed on it") == count
    assert f"to send: {count}" in desk.run("rejected", "replay", "--all", "--dry-run")[1].replace(",", "")


def test_a_place_that_is_not_there_is_named(desk: Desk) -> None:
    assert "has no record 0/17" in desk.run("rejected", "show", "0/17")[1]
    assert "write PARTITION/OFFSET" in desk.run("rejected", "show", "here")[1]

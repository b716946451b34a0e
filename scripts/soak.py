"""Sends a million messages through one worker with a stub model, watches its memory, and has verify judge.

Needs KAFKA_HOME, the folder of an Apache Kafka distribution.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from kafka import KafkaProducer

from reviewpulse.broker import client_options, ensure_topics
from reviewpulse.settings import KafkaSettings, load
from scripts.chaos.stage import rows, say
from scripts.chaos.supervision import drained, start_worker, stop_worker
from tests.cluster import kafka_cluster
from tests.integration.processes import Desk

WARM_UP = 0.2
"""The first part of the messages, during which memory may grow."""

SAMPLE_SECONDS = 2.0
STANDSTILL_SECONDS = 120.0
"""How long no message may be stored before the soak is given up."""

LEAST_SAMPLES = 10
"""After the warm-up: fewer tell nothing of memory."""

Samples = list[tuple[int, float]]
"""Messages stored, and the worker's memory in MB."""


def publish(kafka: KafkaSettings, messages: int) -> None:
    """Publish so many reviews of some 400 bytes, one in a thousand of them broken; raises what Kafka refused."""
    producer = KafkaProducer(**client_options(kafka), acks="all", linger_ms=50, batch_size=131_072)
    filling, refused = "good value, arrived on time, would buy it again " * 6, list[Exception]()
    for number in range(messages):
        value = json.dumps({"text": f"{filling}{number}", "title": f"review {number}", "rating": number % 5 + 1})
        delivery = producer.send(kafka.reviews_topic, value=b"{broken" if number % 1000 == 999 else value.encode())
        delivery.add_errback(refused.append)
        if refused:
            break
    producer.flush(timeout=STANDSTILL_SECONDS)
    producer.close(timeout=STANDSTILL_SECONDS)
    if refused:
        raise refused[0]


def soak(desk: Desk, messages: int) -> dict[str, Any]:
    """Run the worker over the messages and return its memory, in MB by messages stored, and its rate."""
    with ThreadPoolExecutor(1) as executor:
        publishing, started = executor.submit(publish, desk.kafka, messages), time.monotonic()
        worker = start_worker(desk, REVIEWPULSE_BATCH_REVIEWS="512")
        samples = watched(desk, worker, messages, publishing)
    seconds = time.monotonic() - started
    stop_worker(desk, worker)
    return {
        "messages": messages,
        "seconds": round(seconds),
        "messages_per_second": round(messages / seconds),
        **memory_growth([rss for stored, rss in samples if stored >= WARM_UP * messages]),
        "memory": samples[:: max(len(samples) // 50, 1)],
    }


def watched(desk: Desk, worker: subprocess.Popen[bytes], messages: int, publishing: Future[None]) -> Samples:
    """Return the worker's memory until all messages are stored; ends the soak when they are not going to be."""
    samples, process, moved = Samples(), psutil.Process(worker.pid), time.monotonic()
    while (stored := rows(desk)) < messages:
        if worker.poll() is not None:
            sys.exit(f"the worker ended: {desk.output_of(worker)[-2000:]}")
        if publishing.done():
            publishing.result()
        if not samples or stored > samples[-1][0]:
            moved = time.monotonic()
        if time.monotonic() - moved > STANDSTILL_SECONDS:
            sys.exit(f"stored {stored:,} of {messages:,}, and no more for {STANDSTILL_SECONDS:g} s")
        samples.append((stored, round(process.memory_info().rss / 1e6, 1)))
        say(f"{stored:,} of {messages:,} stored, {samples[-1][1]:.0f} MB")
        time.sleep(SAMPLE_SECONDS)
    return samples


def memory_growth(warm: Sequence[float]) -> dict[str, float]:
    """Return how memory grew after the warm-up: the median of its last fifth against that of its first, and the peak.

    >>> memory_growth([100, 101, 130, 100, 100, 101, 101, 102, 102, 102])
    {'mb_after_warm_up': 100.5, 'mb_at_the_end': 102.0, 'most_mb_afterwards': 130, 'growth': 0.0149}
    """
    if len(warm) < LEAST_SAMPLES:
        sys.exit(f"only {len(warm)} samples after the warm-up, which tell nothing of memory: send more --messages")
    fifth = len(warm) // 5
    first, last = median(warm[:fifth]), median(warm[-fifth:])
    return {
        "mb_after_warm_up": first,
        "mb_at_the_end": last,
        "most_mb_afterwards": max(warm),
        "growth": round(last / first - 1, 4),
    }


def verify_peak_mb(desk: Desk) -> float:
    """Run verify once more and return the most memory that it was seen to have."""
    verify, most = desk.start("verify"), 0
    while verify.poll() is None:
        with contextlib.suppress(psutil.Error):
            most = max(most, psutil.Process(verify.pid).memory_info().rss)
        time.sleep(0.1)
    return round(most / 1e6, 1)


def main() -> None:
    """Soak and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--into", type=Path, default=Path("docs/results/soak.json"))
    options = parser.parse_args()
    if not os.environ.get("KAFKA_HOME"):
        sys.exit("set KAFKA_HOME to the folder of an Apache Kafka distribution")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with kafka_cluster(Path(os.environ["KAFKA_HOME"]), folder / "kafka", nodes=1) as (node,):
            desk = Desk(folder, load(KafkaSettings, broker=f"127.0.0.1:{node.port}"), folder / "none")
            try:
                ensure_topics(desk.kafka)
                found = soak(desk, options.messages)
                verdict = drained(desk)
                found["verify_most_mb"] = verify_peak_mb(desk)
            finally:
                desk.clear()
    report = {"soaked_at": datetime.now(UTC).isoformat(timespec="seconds")} | found | {"verify": verdict}
    options.into.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(not verdict["is_well"] or found["growth"] > 0.05)


if __name__ == "__main__":
    main()

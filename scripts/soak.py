"""Sends a million messages through one worker with a stub model, watches its memory, and has verify judge.

Needs KAFKA_HOME, the folder of an Apache Kafka distribution.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
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

SAMPLE_SECONDS = 5.0


def publish(kafka: KafkaSettings, messages: int) -> None:
    """Publish so many reviews of some 400 bytes, one in a thousand of them broken."""
    producer = KafkaProducer(**client_options(kafka), acks="all", linger_ms=50, batch_size=131_072)
    filling = "good value, arrived on time, would buy it again " * 6
    for number in range(messages):
        value = json.dumps({"text": f"{filling}{number}", "title": f"review {number}", "rating": number % 5 + 1})
        producer.send(kafka.reviews_topic, value=b"{broken" if number % 1000 == 999 else value.encode())
    producer.flush()
    producer.close()


def soak(desk: Desk, messages: int) -> dict[str, Any]:
    """Run the worker over the messages and return its memory, in MB by messages stored, and its rate."""
    feeder = threading.Thread(target=publish, args=(desk.kafka, messages), daemon=True)
    feeder.start()
    worker, samples, started = (
        start_worker(desk, REVIEWPULSE_BATCH_REVIEWS="512"),
        list[tuple[int, float]](),
        time.monotonic(),
    )
    process = psutil.Process(worker.pid)
    while (stored := rows(desk)) < messages:
        if worker.poll() is not None:
            sys.exit(f"the worker ended: {desk.output_of(worker)[-2000:]}")
        samples.append((stored, round(process.memory_info().rss / 1e6, 1)))
        say(f"{stored:,} of {messages:,} stored, {samples[-1][1]:.0f} MB")
        time.sleep(SAMPLE_SECONDS)
    seconds = time.monotonic() - started
    stop_worker(desk, worker)
    warm = [rss for stored, rss in samples if stored >= WARM_UP * messages]
    return {
        "messages": messages,
        "seconds": round(seconds),
        "messages_per_second": round(messages / seconds),
        "mb_after_warm_up": warm[0],
        "most_mb_afterwards": max(warm),
        "growth": round(max(warm) / warm[0] - 1, 4),
        "memory": samples[:: max(len(samples) // 50, 1)],
    }


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
            finally:
                desk.clear()
    report = {"soaked_at": datetime.now(UTC).isoformat(timespec="seconds")} | found | {"verify": verdict}
    options.into.write_text(json.dumps(report, indent=2) + "\n")
    sys.exit(not verdict["is_well"] or found["growth"] > 0.05)


if __name__ == "__main__":
    main()

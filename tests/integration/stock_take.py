"""Faust as it comes, for comparison: `take()` over the reviews topic into a file. Arguments: FILE [FAILING_BATCH]."""

import asyncio
import sys
import tempfile
from pathlib import Path

import faust

from reviewpulse.settings import KafkaSettings, load


async def main() -> None:
    """Write each batch's values as lines; the handler of one batch raises instead."""
    failing = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    kafka = load(KafkaSettings)
    app = faust.App(
        f"stock-{kafka.reviews_topic}",
        broker=f"kafka://{kafka.broker}",
        web_enabled=False,
        topic_disable_leader=True,
        topic_allow_declare=False,
        broker_session_timeout=1.5,
        broker_heartbeat_interval=0.25,
        stream_wait_empty=False,
        broker_commit_interval=0.2,
        datadir=tempfile.mkdtemp(),
    )
    taken = 0

    @app.agent(app.topic(kafka.reviews_topic, value_type=bytes, value_serializer="raw"))
    async def handle(stream: faust.StreamT[bytes]) -> None:
        nonlocal taken
        async for batch in stream.take(16, within=0.2):
            taken += 1
            if taken == failing:
                raise ConnectionError("the handler failed once")
            lines.writelines(value + b"\n" for value in batch)

    with Path(sys.argv[1]).open("ab", buffering=0) as lines:  # noqa: ASYNC230  # once, at the start
        await app.start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())

"""A process that writes a store as a worker does: python -m tests.stream_app.writer URL PARTITION BATCHES."""

import sys

from reviewpulse.records import Origin
from reviewpulse.schema import connect
from stream_app.batch import Outcome
from stream_app.retention import prune
from stream_app.store import PredictionStore
from tests.stream_app.places import NOW, SOURCE, scored_at

BATCH_REVIEWS = 20


def main(url: str, partition: int, batches: int) -> None:
    """Write the batches of one partition, all in the same second, and prune nothing now and then."""
    engine = connect(url, writable=True)
    store = PredictionStore(engine)
    number = store.register(SOURCE)
    for batch in range(batches):
        origins = (Origin(SOURCE, partition, batch * BATCH_REVIEWS + place) for place in range(BATCH_REVIEWS))
        store.write(number, Outcome([scored_at(origin) for origin in origins], []), NOW, {})
        store.note_progress(number, {0: 1_000, 1: 1_000}, NOW)  # both partitions, as after a rebalance
        if batch % 10 == 0:
            prune(engine, NOW, lambda _seconds: False)
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

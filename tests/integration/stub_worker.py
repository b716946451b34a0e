"""A worker with a model that answers at once, or misbehaves as the environment says. It starts without torch.

STUB_SECONDS: how long a batch takes. STUB_HANGS: the model never answers on a review whose text holds 'hang'.
STUB_LINE_SECONDS: how often an outage is mentioned. STUB_VERBOSE: the clients' own messages as well.
STUB_DIES: STEP:BATCH:kill or STEP:BATCH:raise, after which step of which batch, from 1, it dies and how.
SIGUSR1 blocks the event loop for ever, SIGUSR2 the whole interpreter.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence

import numpy as np

from reviewpulse.card import find_checkpoint, read_card
from reviewpulse.decision import Predictions
from reviewpulse.errors import ReviewpulseError
from reviewpulse.settings import AccessSettings, KafkaSettings, StoreSettings, WorkerSettings, load
from stream_app.outages import Outages, fold_clients
from stream_app.steps import OnStep, Step, unwatched
from stream_app.worker import run_worker


class StubModel:
    """Gives every review five stars."""

    def __init__(self) -> None:
        self.card = read_card(find_checkpoint("default"))

    def predict(self, texts: Sequence[str]) -> Predictions:
        """Return the predictions for some texts, sooner or later."""
        if "STUB_SECONDS" in os.environ:  # under a clock that is made to jump even sleep(0) fails
            time.sleep(float(os.environ["STUB_SECONDS"]))
        if any("hang" in text for text in texts):
            threading.Event().wait()
        probabilities = np.full((len(texts), 5), 0.1, dtype=np.float32)
        probabilities[:, 4] = 0.6
        return Predictions(probabilities, probabilities.argmax(axis=1))


def dying_after(step: Step, batch: int, way: str) -> OnStep:
    """Return what ends this process when the batch with that number has taken the step."""
    seen: Counter[Step] = Counter()

    def on_step(taken: Step) -> None:
        seen[taken] += 1
        if taken is step and seen[taken] == batch:
            if way == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ZeroDivisionError(f"made to fail after step {step}")

    return on_step


def watching() -> OnStep:
    """Return what takes notice of the batches' steps."""
    if "STUB_DIES" not in os.environ:
        return unwatched
    step, batch, way = os.environ["STUB_DIES"].split(":")
    return dying_after(Step[step], int(batch), way)


def main() -> int:
    """Run the worker as the command line does and return its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s", datefmt="%H:%M:%S")
    signal.signal(signal.SIGUSR1, lambda *_: time.sleep(10_000))
    signal.signal(signal.SIGUSR2, lambda *_: ctypes.PyDLL(None).sleep(10_000))
    outages = Outages(every_seconds=float(os.environ.get("STUB_LINE_SECONDS", "60")))
    if "STUB_VERBOSE" not in os.environ:
        fold_clients(outages)
    try:
        run_worker(
            load(KafkaSettings),
            load(StoreSettings),
            load(WorkerSettings),
            lambda _worker: StubModel(),
            outages=outages,
            token=load(AccessSettings).token,
            on_step=watching(),
        )
    except ZeroDivisionError:
        logging.exception("the worker ends")
        return 1
    except ReviewpulseError as exc:
        logging.error("error: %s", exc)
        return 1
    return 0


if __name__ == "__main__":
    exit_code = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(exit_code)

"""What a scenario plays on, and what it looks at."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from tests.brokers import DistributionBroker
from tests.integration.processes import Desk


class ImpossibleError(Exception):
    """This machine does not allow a scenario; the message says why."""


class Stage(NamedTuple):
    """What a scenario plays on."""

    desk: Desk
    nodes: list[DistributionBroker]
    kills: int
    cleanup: contextlib.ExitStack
    """Closed once all processes of the desk have ended."""


def rows(desk: Desk) -> int:
    """Return how many records the store knows."""
    return desk.count("predictions") + desk.count("rejections")


def require(is_so: bool, what: str) -> None:
    """Fail the scenario, as a wait that was in vain does, unless something is so."""
    if not is_so:
        raise AssertionError(what)


def outages_told(desk: Desk, workers: Sequence[subprocess.Popen[bytes]], word: str = "") -> int:
    """Return how often these workers said that an outage began, for a reason that contains a word."""
    said = "".join(desk.output_of(worker) for worker in workers)
    return len(re.findall(rf"outage: [^\n]*{word}[^\n]*; trying again", said))


def say(what: str) -> None:
    """Tell the terminal."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {what}\n")

"""What a scenario plays on, and what it looks at."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tests.brokers import DistributionBroker
from tests.integration.processes import Desk


class Stage(NamedTuple):
    """What a scenario plays on."""

    desk: Desk
    nodes: list[DistributionBroker]
    kills: int
    home: Path


def rows(desk: Desk) -> int:
    """Return how many records the store knows."""
    return desk.count("predictions") + desk.count("rejections")


def say(what: str) -> None:
    """Tell the terminal."""
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {what}\n")

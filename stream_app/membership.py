"""What a worker is called in its consumer group, and whether another one goes by the same name."""

import os
import re
import socket
from collections.abc import Mapping

from reviewpulse.errors import MembershipError


def client_id() -> str:
    """Return what tells this process from all others that talk to Kafka."""
    return f"reviewpulse-{_host()}-{os.getpid()}"


def instance_name(base: str | None, number: int) -> str:
    """Return the lasting name of the worker with this number, from the setting or else from the machine's name.

    >>> instance_name("shop.west", 2)
    'shop.west-2'
    """
    return f"{base or _host()}-{number}"


def check_name(instance: str, own_member_id: str, members: Mapping[str, str]) -> None:
    """Raise MembershipError when another process goes by our lasting name; members are the group's ids by name.

    A member that Kafka has dropped has no id there, and may join again.

    >>> check_name("a-1", "a-1-9f3c", {"a-1": "a-1-9f3c", "a-2": "a-2-77e0"})
    >>> check_name("a-1", "a-1-9f3c", {"a-2": "a-2-77e0"})
    """
    if members.get(instance, own_member_id) != own_member_id:
        raise MembershipError(
            f"another worker goes by the name {instance} in the consumer group and took its partitions; "
            "this one ends, nothing is lost: give each worker its own REVIEWPULSE_INSTANCE"
        )


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:100] or "worker"

"""Which side of the split a customer is on: by a hash of the seed, or by when they wrote last."""

import hashlib
from enum import StrEnum
from typing import NamedTuple

import msgspec


class Side(StrEnum):
    """Where an example may be used."""

    training = "training"
    validation = "validation"
    test = "test"


class SplitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How examples are set apart: whole customers, some by chance and some because they wrote last."""

    test_share: float = 0.1
    validation_share: float = 0.08
    later_share: float = 0.25
    """The part of test and validation that is filled by time: test with the newest reviews, validation with those
    before them. Training holds no review that is as new."""
    seed: int = 0


class Cutoffs(NamedTuple):
    """From which time on (ms UTC) a customer belongs to validation and to test; None when no review is dated."""

    validation: int | None
    test: int | None


def share_of(key: bytes, seed: int) -> float:
    """Return a number from 0 to 1 that depends on the key and the seed alone."""
    digest = hashlib.blake2b(f"{seed}/".encode() + key, digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def side_of_customer(customer: bytes, latest: int | None, cutoffs: Cutoffs, plan: SplitPlan) -> Side:
    """Return a customer's side, given the time (ms UTC) of their latest review, None when it is not dated."""
    if latest is not None and cutoffs.test is not None and latest >= cutoffs.test:
        return Side.test
    if latest is not None and cutoffs.validation is not None and latest >= cutoffs.validation:
        return Side.validation
    by_chance = 1 - plan.later_share
    share = share_of(customer, plan.seed)
    if share < plan.test_share * by_chance:
        return Side.test
    if share < (plan.test_share + plan.validation_share) * by_chance:
        return Side.validation
    return Side.training

"""A card for checkpoints that are none; needs no torch."""

from reviewpulse.card import Card, Decision
from reviewpulse.labels import LABELS
from reviewpulse.text import CLEANING_VERSION


def tiny_card(**changes: object) -> Card:
    """Return a card that fits, with the given fields changed."""
    fields: dict[str, object] = {
        "name": "tiny",
        "version": "1",
        "labels": LABELS,
        "max_tokens": 32,
        "cleaning_version": CLEANING_VERSION,
        "base": "none",
        "decision": Decision(),
        "plan": {},
        "seed": 0,
        "training_reviews": 0,
        "data_sha256": "",
        "trained_at": "2026-01-01T00:00:00+00:00",
        "metrics": {},
        "libraries": {},
    }
    return Card(**(fields | changes))  # type: ignore[arg-type]

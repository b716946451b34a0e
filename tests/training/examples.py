"""Examples and trainings small enough for every test run."""

import json
from pathlib import Path

from training.example import Example
from training.plan import Plan
from training.recipe import Recipe

WORDS = {1: "bad bad bad", 5: "good good good"}


def example(text: str, **changes: object) -> Example:
    """Return an example of five stars by nobody, with the given fields changed."""
    fields: dict[str, object] = {"rating": 5.0, "user_id": None, "timestamp": None, "category": None}
    return Example(text, **(fields | changes))  # type: ignore[arg-type]


def write_reviews(path: Path, count: int, **fields: object) -> Path:
    """Write reviews whose stars, 1 and 5, can be told from their words, a day apart, by a customer each."""
    rows = [
        {
            "text": f"{WORDS[1 + 4 * (number % 2)]} {number}",
            "rating": 1 + 4 * (number % 2),
            "user_id": f"customer {number}",
            "timestamp": number * 86_400_000,
            "category": "Toys" if number % 3 else "Games",
        }
        | fields
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def quick_plan(base: Path, **changes: object) -> Plan:
    """Return a plan that learns `write_reviews` in a second or two."""
    recipe = Recipe(epochs=6, batch_rows=16, learning_rate=5e-3, seed=3)
    fields: dict[str, object] = {"name": "mine", "base": str(base), "max_tokens": 32, "recipe": recipe}
    return Plan(**(fields | changes))  # type: ignore[arg-type]

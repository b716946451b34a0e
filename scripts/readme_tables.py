"""Writes the tables of README.md and docs/delivery.md anew from the code and the committed results."""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import typer.main
from pydantic import SecretStr

from reviewpulse.cli import app
from reviewpulse.settings import ROOMS, RoomSettings
from training.evaluation.evaluate import Evaluation

RESULTS = {
    "classic": "The classic recipe: 2 layers, 128 wide, cross-entropy, 64 tokens",
    "fast": "`fast`",
    "default": "`default`",
    "large": "`large`",
}
"""Committed evaluations, docs/results/NAME.json, and how the table calls them."""

SPEED = Path(__file__).parents[1] / "docs" / "results" / "speed.json"
"""What scripts/measure_speed.py found: every row in turn in one run, for rates of different runs do not compare."""

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
EVALUATIONS = ROOT / "docs" / "results"
DELIVERY = ROOT / "docs" / "delivery.md"
CHAOS, SOAK = ROOT / "docs" / "results" / "chaos.json", ROOT / "docs" / "results" / "soak.json"


def commands_table() -> str:
    """Return a row for each command: its name and the first sentence of its help."""
    group = typer.main.get_command(app)
    names = group.commands  # type: ignore[attr-defined]  # typer's group has them
    rows = [f"| `reviewpulse {name}` | {_first_line(command.help)} |" for name, command in names.items()]
    return "\n".join(["| command | what it does |", "|---|---|", *rows])


def settings_table() -> str:
    """Return a row for each setting of each room: variable, default, meaning."""
    rows = [row for room in ROOMS for row in _settings_rows(room)]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def results_table(folder: Path = EVALUATIONS) -> str:
    """Return a row for each candidate of the evaluations in the folder, the weakest first."""
    header = "| | macro-F1 | weighted F1 | MAE stars | QWK | ECE | reviews/s | size |"
    found = {name: _evaluation(path) for name in RESULTS if (path := folder / f"{name}.json").exists()}
    rows = [_result_row(RESULTS[name], result, "checkpoint") for name, result in found.items()]
    if len({result.reviews_sha256 for result in found.values()}) > 1:
        sys.exit("docs/results/ holds evaluations on different reviews, which no table may compare; make them anew")
    if shared := found.get("default"):  # its baselines learned from the very reviews that it learned from
        baselines = {
            "Always the commonest label": "majority",
            "TF-IDF + logistic regression": "tf-idf + logistic regression",
            "TF-IDF + logistic regression, tuned": "the same, tuned",
        }
        rows = [_result_row(title, shared, candidate) for title, candidate in baselines.items()] + rows
    return "\n".join([header, "|---" * 8 + "|", *rows, _reference_row()])


def _reference_row() -> str:
    """Return the row of the encoder whose speed others are to be compared with, on any machine."""
    report = json.loads(SPEED.read_text())
    reference = report["reference"]
    speed = report["reviews_per_second"][reference]["median"]
    return f"| {reference} by transformers alone, to compare speeds with {'|' * 6} {speed:,.0f} | |"


def _evaluation(path: Path) -> Evaluation:
    """Return a committed evaluation; ends the script where it is none of today's form."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Evaluation)
    except msgspec.DecodeError as exc:
        sys.exit(f"docs/results/{path.name} is no evaluation of this version ({exc}); run 'reviewpulse evaluate' again")


def _result_row(title: str, result: Evaluation, candidate: str) -> str:
    figures = result.candidates[candidate]
    names = ("macro_f1", "weighted_f1", "mae_stars", "qwk", "expected_calibration_error")
    cells = [f"{figures.overall[name]:.3f}" for name in names]
    speeds = json.loads(SPEED.read_text())["reviews_per_second"]
    speed = speeds.get(result.checkpoint if candidate == "checkpoint" else candidate)
    cells.append(f"{speed['median']:,.0f}" if speed else "")
    cells.append(f"{result.weights_bytes / 1e6:.0f} MB" if candidate == "checkpoint" else "")
    return f"| {title} | {' | '.join(cells)} |"


def chaos_table() -> str:
    """Return a row for each scenario that was played, and for the soak: what was done and what verify found."""
    played = json.loads(CHAOS.read_text())["scenarios"] if CHAOS.exists() else {}
    soaked = json.loads(SOAK.read_text()) if SOAK.exists() else None
    rows = [
        f"| {name} | {_deeds(scenario)} | {_verdict(scenario.get('verify'))} |" for name, scenario in played.items()
    ]
    if soaked:
        deeds = (
            f"{soaked['messages_per_second']:,} messages/s; {soaked['mb_after_warm_up']:.0f} MB after warm-up, "
            f"{soaked['mb_at_the_end']:.0f} MB at the end, {soaked['most_mb_afterwards']:.0f} MB at most"
        )
        if "verify_most_mb" in soaked:  # the first soaks did not look at it
            deeds += f"; verify {soaked['verify_most_mb']:.0f} MB at most"
        rows.append(f"| soak | {deeds} | {_verdict(soaked['verify'])} |")
    return "\n".join(
        ["| what | how much | records | lost, doubled or differing | published again |", "|---" * 5 + "|", *rows]
    )


def _deeds(scenario: dict[str, Any]) -> str:
    left_out = {"played_at", "verify"}
    return ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in scenario.items() if name not in left_out)


def _verdict(verify: dict[str, Any] | None) -> str:
    if verify is None:  # left out, because the machine did not allow it
        return "| |"
    return f"{verify['records']:,} | {sum(verify['faults'].values()):,} | {verify['repeated']:,}"


def _settings_rows(room: type[RoomSettings]) -> list[str]:
    rows = []
    for name, field in room.model_fields.items():
        choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
        meaning = (field.description or "") + (f": {', '.join(f'`{choice}`' for choice in choices)}" if choices else "")
        default = "" if field.default is None or isinstance(field.default, SecretStr) else f"`{_plain(field.default)}`"
        rows.append(f"| `REVIEWPULSE_{name.upper()}` | {default} | {meaning} |")
    return rows


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]


def renewed(text: str, tables: dict[str, str], path: Path) -> str:
    """Return a document's text with the generated parts put in."""
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- {name}: made by 'make readme' -->\n).*?(<!-- end -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", text)  # type: ignore[misc]
        if found != 1:
            sys.exit(f"{path.name} has no place for the table of {name}")
    return text


def main() -> None:
    """Write or check the documents with generated tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a table is out of date")
    is_check = parser.parse_args().check
    documents = {
        README: {"commands": commands_table(), "settings": settings_table(), "results": results_table()},
        DELIVERY: {"chaos": chaos_table()},
    }
    for path, tables in documents.items():
        before = path.read_text()
        after = renewed(before, tables, path)
        if not is_check:
            path.write_text(after)
        elif before != after:
            sys.exit(f"the tables of {path.name} are out of date; run: make readme")


if __name__ == "__main__":
    main()

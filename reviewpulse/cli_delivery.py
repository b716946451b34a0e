"""The commands that look after delivery: `verify`, and `rejected` with list, show and replay."""

import contextlib
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer
from rich.console import Console

from reviewpulse.errors import RejectedError
from reviewpulse.progress import progress_on
from reviewpulse.settings import KafkaSettings, StoreSettings, WorkerSettings, load
from reviewpulse.visible import visible_json, visible_line

if TYPE_CHECKING:
    from stream_app.rejected import Filter
    from stream_app.replay import Candidates, Plan

FEW: Final = 10
"""So many records are sent again without a question."""

PIPE_WIDTH: Final = 200

rejected = typer.Typer(no_args_is_help=True, help="Records that were no review: see them, mend them, send them again.")

ReasonOption = Annotated[str | None, typer.Option(help="Only those whose reason has this in it.")]
SinceOption = Annotated[str | None, typer.Option(help="Only those since then: 90s, 15m, 2h, 3d or 2026-01-31T12:00.")]


def verify(
    complete: Annotated[
        bool, typer.Option("--complete", help="What is not processed yet counts as lost: nothing may be left.")
    ] = False,
    first: Annotated[int, typer.Option(min=0, help="How many differences to name.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Write the report as one JSON object.")] = False,
) -> None:
    """Prove that nothing was lost and nothing stored twice: compare the topics with the store, record by record.

    Workers may go on meanwhile. Exit code 1 when anything differs.
    """
    from stream_app.verdict import lines
    from stream_app.verify import Asked
    from stream_app.verify import verify as run_verification

    asked = Asked(complete, load(WorkerSettings).longest_text, most_named=first)
    with progress_on(Console(stderr=True), "verify") as progress:
        report = run_verification(load(KafkaSettings), load(StoreSettings), asked, progress)
    if json:
        typer.echo(visible_json(msgspec.json.encode({"is_well": report.is_well, **msgspec.structs.asdict(report)})))
    else:
        for line in lines(report):
            typer.echo(line)
    raise typer.Exit(0 if report.is_well else 1)


@rejected.command("list")
def list_rejected(
    reason: ReasonOption = None,
    since: SinceOption = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with the bytes: for `replay`.")] = False,
) -> None:
    """List the rejected records, the newest last: place in the topic, time, size, reason, beginning."""
    from stream_app.rejected import OriginalBytes, json_line, list_lines, read_rejected

    kafka, wanted = load(KafkaSettings), _filter([], reason, since)
    try:
        if json:
            with OriginalBytes(kafka) as original:
                for record in read_rejected(kafka, wanted):
                    encoded = msgspec.json.encode(json_line(record, original.of))
                    sys.stdout.buffer.write(visible_json(encoded) + b"\n")
            sys.stdout.buffer.flush()
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
            for line in list_lines(read_rejected(kafka, wanted), width):
                typer.echo(line)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of the pipe is gone


@rejected.command("show")
def show(
    place: Annotated[str, typer.Argument(help="PARTITION/OFFSET, as `rejected list` shows it.")],
    raw: Annotated[bool, typer.Option("--raw", help="Write the bytes alone, as they are.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the bytes, as they are, here.")] = None,
) -> None:
    """Show a rejected record: its headers and its bytes, with everything spelled out that could steer a terminal."""
    from stream_app.rejected import OriginalBytes, find_rejected, show_lines

    kafka = load(KafkaSettings)
    if raw and output is None and sys.stdout.isatty():
        raise RejectedError("raw bytes could steer your terminal; name a file with -o, or write into a pipe")
    record = find_rejected(kafka, place)
    with OriginalBytes(kafka) as original:
        value = original.of(record)
    if output is not None:
        try:
            output.write_bytes(value or b"")
        except OSError as exc:
            raise RejectedError(f"cannot write {output}: {exc.strerror}") from exc
    elif raw:
        sys.stdout.buffer.write(value or b"")
        sys.stdout.buffer.flush()
    else:
        for line in show_lines(record, value):
            typer.echo(line)


@rejected.command("replay")
def replay(
    places: Annotated[list[str] | None, typer.Argument(help="PARTITION/OFFSET of those to send again.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    reason: ReasonOption = None,
    since: SinceOption = None,
    file: Annotated[
        Path | None, typer.Option("--from", help="A file that `rejected list --json` wrote, its values mended.")
    ] = None,
    edit: Annotated[bool, typer.Option("--edit", help="Mend them in $EDITOR first.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that were sent again before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending many.")] = False,
) -> None:
    """Send rejected records to the reviews topic again, as they are or mended.

    Those that the decoder would only reject again are named and not sent, nor are those that were sent again before.
    Those that the model failed on are sent: another model may do better.
    """
    from stream_app.replay import edited, from_file, from_topic

    if file is not None and (places or every or reason or since or edit):
        raise RejectedError("--from sends what is in the file; leave out places, --all, --reason, --since and --edit")
    if file is None and not (places or every or reason or since):
        raise RejectedError("say which: places, --reason, --since, --all, or --from FILE")
    kafka = load(KafkaSettings)
    wanted = _filter(places or [], reason, since)
    with contextlib.ExitStack() as stack:
        if file is not None:
            candidates = from_file(file)
        elif edit:
            candidates = stack.enter_context(edited(kafka, wanted))
        else:
            candidates = from_topic(kafka, wanted)
        _replay(kafka, candidates, is_again=again, is_dry=dry_run, is_sure=yes)


def _replay(kafka: KafkaSettings, candidates: "Candidates", *, is_again: bool, is_dry: bool, is_sure: bool) -> None:
    from stream_app.replay import make_plan, send

    limit = load(WorkerSettings).text_limit
    with progress_on(Console(stderr=True), "replay") as progress:
        plan = make_plan(kafka, candidates, limit, is_again=is_again, progress=progress)
    for line in _plan_lines(plan):
        typer.echo(line)
    if is_dry or not plan.chosen:
        return
    if len(plan.chosen) > FEW and not is_sure:
        typer.confirm(f"send {len(plan.chosen):,} records to {kafka.reviews_topic}?", abort=True)
    with progress_on(Console(stderr=True), "replay") as progress:
        sent = send(kafka, candidates, plan.chosen, limit, progress)
    typer.echo(f"sent {sent:,} to {kafka.reviews_topic}; a worker scores them")


def _plan_lines(plan: "Plan") -> list[str]:
    lines = [f"to send: {len(plan.chosen):,}"]
    if plan.replayed:
        lines.append(f"sent again before, left out: {plan.replayed:,} (--again sends them once more)")
    if plan.refused:
        lines.append(
            f"would be rejected again, left out: {plan.refused:,} (mend them: --edit, or list --json and --from)"
        )
    lines += [f"  {visible_line(refused, PIPE_WIDTH)}" for refused in plan.first_refused]
    return lines


def _filter(places: list[str], reason: str | None, since: str | None) -> "Filter":
    from stream_app.rejected import Filter, parse_place, parse_since

    moment = None if since is None else parse_since(since, datetime.now(UTC))
    return Filter(frozenset("{}/{}".format(*parse_place(place)) for place in places), reason, moment)

"""The command line: reads options and settings, composes rooms, and shows what they say."""

import importlib.metadata
import logging
import os
import signal
import sys
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

from reviewpulse.card import read_card
from reviewpulse.cli_delivery import rejected, verify
from reviewpulse.cli_models import models
from reviewpulse.cli_store import store
from reviewpulse.cli_training import compare, eda, evaluate, train
from reviewpulse.errors import ReviewpulseError, SourceChangedError
from reviewpulse.registry import resolve_checkpoint
from reviewpulse.settings import (
    AccessSettings,
    DashboardSettings,
    KafkaSettings,
    ProducerSettings,
    RegistrySettings,
    StoreSettings,
    WorkerSettings,
    load,
    unknown_variables,
)
from reviewpulse.visible import VisibleFormatter, visible

log = logging.getLogger("reviewpulse")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Reads a live stream of product reviews from Kafka and tells what customers feel, now. "
    "Settings are environment variables REVIEWPULSE_...; the README lists them.",
)

QUIET_LIBRARIES: Final = ("faust", "mode", "aiokafka", "kafka", "httpx", "stream_app.app")
"""Loggers that repeat, many times a second in an outage, what our own messages say once."""


OUR_THREADS: Final = ("pruner", "watchdog", "health server")
"""Threads that a worker does not live without."""


class Followed(StrEnum):
    """The topics that `tail` follows."""

    predictions = "predictions"
    reviews = "reviews"
    rejected = "rejected"


def main() -> None:
    """Run the command line; a known error is one line on standard error and exit code 1."""
    try:
        app()
    except ReviewpulseError as exc:
        _show(exc)
        sys.exit(1)


def _show(error: ReviewpulseError) -> None:
    said = escape(visible(str(error)))
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]error:[/] {said}")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"reviewpulse {importlib.metadata.version('reviewpulse')}")
        raise typer.Exit


@app.callback()
def _set_up(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log the libraries' messages too.")] = False,
    version: Annotated[  # noqa: ARG001  # its callback answers
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if not verbose:
        for name in QUIET_LIBRARIES:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    for name in unknown_variables(os.environ):
        log.warning("%s is no setting and has no effect; the README lists them", name)


@app.command()
def demo(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files of reviews; without any, the bundled sample.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Reviews a second; default: 20 for the sample, a file at full speed.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The dashboard's port; 0: a free one.")] = None,
) -> None:
    """Start everything on this machine: embedded broker, worker, dashboard and a replay. Ctrl-C stops it.

    The sample is replayed again and again, a file of yours once. What the parts say goes to demo-logs/.
    """
    from reviewpulse.demo import run_demo

    settings = load(DashboardSettings, port=port)
    run_demo(files or [], rate, settings, load(StoreSettings).store, Console(highlight=False, soft_wrap=True))


@app.command()
def broker(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 9092,
) -> None:
    """Run the embedded broker: Kafka's protocol, loopback only, topics in memory and gone when it stops."""
    from reviewpulse.broker import ensure_topics
    from reviewpulse.embedded import EmbeddedBroker
    from reviewpulse.stopping import stop_on_signals

    with stop_on_signals() as stop, EmbeddedBroker(port) as running:
        ensure_topics(load(KafkaSettings, broker=running.address, security_protocol="PLAINTEXT"))
        typer.echo(f"broker at {running.address}; for the other commands: export REVIEWPULSE_BROKER={running.address}")
        while running.is_running and not stop.is_requested:
            time.sleep(0.1)
        if not stop.is_requested:
            raise ReviewpulseError("the embedded broker ended by itself; start it again")


@app.command()
def publish(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help=".jsonl, .json, .csv, .tsv, .txt (also .gz), .xlsx, .parquet; none: the bundled sample."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Reviews a second; without it, as fast as Kafka takes them.")
    ] = None,
    speedup: Annotated[
        float | None, typer.Option(help="Keep to the reviews' own times, this many times faster.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Stop after so many reviews.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, until Ctrl-C.")] = False,
) -> None:
    """Replay files of reviews into the reviews topic and wait until Kafka has confirmed each one.

    Rows that are no review go to the rejects file (REVIEWPULSE_REJECTS_FILE) with the reason.
    Exit code 1 when a review was not confirmed, a file is damaged or no row is a review, 130 when Ctrl-C came
    before the end.
    """
    from producer.publish import PublishOptions, run
    from producer.sample import sample_path
    from reviewpulse.progress import progress_on
    from reviewpulse.stopping import stop_on_signals

    options = PublishOptions(rate_per_second=rate, speedup=speedup, limit=limit, loop=loop)
    with stop_on_signals() as stop, progress_on(Console(stderr=True), "publish") as progress:
        report = run(
            files or [sample_path()],
            load(KafkaSettings),
            load(ProducerSettings),
            options,
            progress=progress,
            stop=stop,
        )
    for line in report.lines():
        typer.echo(line)
    raise typer.Exit(report.exit_code)


@app.command()
def download(
    category: Annotated[str, typer.Argument(help="A category of Amazon Reviews 2023, such as Gift_Cards.")],
    into: Annotated[Path, typer.Option(help="Folder to put the file in.")] = Path("downloads"),
) -> None:
    """Fetch a category of Amazon Reviews 2023 (Hou et al., 2024); an interrupted download goes on where it stopped."""
    from producer.download import fetch
    from reviewpulse.progress import progress_on

    with progress_on(Console(stderr=True), category) as progress:
        path = fetch(category, into, progress=progress)
    typer.echo(f"{path}; replay it with: reviewpulse publish {path}")


@app.command()
def work(
    workers: Annotated[int, typer.Option(min=1, help="Worker processes in the one consumer group.")] = 1,
    checkpoint: Annotated[str | None, typer.Option(help="Checkpoint folder, `default`, `fast` or `champion`.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of one worker's model; 0 shares out the cores.")
    ] = None,
) -> None:
    """Score the reviews topic: publish to the predictions topic, write the store, then acknowledge."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _leave(0))  # until the worker has something to finish
    settings = load(WorkerSettings, checkpoint=checkpoint, threads=threads)
    folder = resolve_checkpoint(settings.checkpoint, Path(load(RegistrySettings).models))
    read_card(folder)  # before Kafka is asked for anything
    settings = settings.model_copy(update={"checkpoint": str(folder)})
    threading.excepthook = _note_dead_thread
    if workers > 1:
        raise typer.Exit(_work_together(workers, settings))
    from stream_app.outages import Outages, fold_clients
    from stream_app.worker import load_model, run_worker

    outages = Outages()
    if not _is_verbose():
        fold_clients(outages)
    token = load(AccessSettings).token
    try:
        run_worker(load(KafkaSettings), load(StoreSettings), settings, load_model, outages=outages, token=token)
    except SourceChangedError as exc:
        log.warning("%s; starting over with it", exc)
        logging.shutdown()
        os.execv(sys.executable, [sys.executable, "-m", "reviewpulse", *sys.argv[1:]])  # noqa: S606
    except ReviewpulseError as exc:
        _show(exc)
        _leave(1)
    except Exception:  # a defect must end the process too, whatever threads are left
        log.exception("the worker ends because of a defect in reviewpulse; nothing is lost, please report this")
        _leave(1)
    _leave(0)


def _note_dead_thread(args: threading.ExceptHookArgs) -> None:
    if args.thread is not None and args.thread.name in OUR_THREADS:
        log.critical("the worker ends because of a defect in its %s: %s", args.thread.name, args.exc_value)
        _leave(1)
    log.warning("a thread of the Kafka client ended: %s", args.exc_value or args.exc_type.__name__)


def _leave(code: int) -> None:
    """End the process at once: what was stored is stored, and a client's thread may wait for a Kafka that is gone."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _work_together(workers: int, settings: WorkerSettings) -> int:
    from stream_app.membership import instance_name
    from stream_app.supervisor import run_workers

    threads = settings.threads or max((os.cpu_count() or 1) // workers, 1)
    verbose = ["--verbose"] if _is_verbose() else []
    command = [sys.executable, "-m", "reviewpulse", *verbose, "work", "--threads", str(threads)]
    own = [
        {
            "REVIEWPULSE_INSTANCE": instance_name(settings.instance, number),
            "REVIEWPULSE_HEALTH_PORT": str(settings.health_port and settings.health_port + number - 1),
        }
        for number in range(1, workers + 1)
    ]
    return run_workers([*command, "--checkpoint", settings.checkpoint], own)


def _is_verbose() -> bool:
    return logging.getLogger("faust").level == logging.NOTSET


@app.command()
def tail(
    topic: Annotated[Followed, typer.Argument(help="Which topic.")] = Followed.predictions,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="All records first, then new ones.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many records.")] = None,
) -> None:
    """Follow a topic: readable on a terminal, one JSON object a line in a pipe. Ctrl-C ends it."""
    from reviewpulse.tail import follow, print_records

    records = follow(load(KafkaSettings), topic.value, from_beginning=from_beginning)
    try:
        print_records(records, topic.value, limit, Console(highlight=False))
    except (KeyboardInterrupt, BrokenPipeError):
        sys.stderr.close()  # the reader of the pipe is gone, or the user: nothing more to say


@app.command()
def dashboard(
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; loopback by default.")] = None,
) -> None:
    """Serve the live page: rolling sentiment, mean stars, reviews a second, lag and the newest reviews."""
    from dashboard.server import serve

    serve(load(DashboardSettings, port=port, host=host), load(StoreSettings).store, load(AccessSettings))


app.command()(verify)
for offline in (eda, train, compare, evaluate):
    app.command()(offline)
app.add_typer(rejected, name="rejected")
app.add_typer(models, name="models")
app.add_typer(store, name="store")

"""The offline commands: eda, train, compare and evaluate."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from reviewpulse.errors import ReviewpulseError
from reviewpulse.progress import progress_on
from reviewpulse.registry import CHAMPION, resolve_checkpoint
from reviewpulse.settings import RegistrySettings, WorkerSettings, load

Files = Annotated[list[Path], typer.Argument(help="Files of reviews that carry a rating.")]
TrainOnly = Annotated[
    list[str] | None,
    typer.Option(
        help="Use rows whose field `source` is this for training only; a checkpoint remembers it. May be repeated."
    ),
]
SMALLEST = ["small-2x128"]
NOTHING_WRITTEN = "nothing was written"
INTERRUPTED = 130
"""The exit code of a program that Ctrl-C ended."""


def eda(
    files: Annotated[list[Path], typer.Argument(help="Files of reviews.")],
    into: Annotated[Path, typer.Option(help="The folder to make.")] = Path("eda"),
) -> None:
    """Look at files of reviews before training: classes, lengths, gaps, repeats, times and telling words.

    Writes report.md, report.json and figures.
    """
    from training.eda.explore import explore

    with _interruptible(NOTHING_WRITTEN), progress_on(Console(stderr=True), "eda") as progress:
        folder = explore(files, into, now=datetime.now(UTC), progress=progress)
    typer.echo(f"report: {folder / 'report.md'}")


def train(
    files: Files,
    into: Annotated[Path, typer.Option(help="The checkpoint folder to make.")],
    name: Annotated[str | None, typer.Option(help="The checkpoint's name; the folder's by default.")] = None,
    base: Annotated[
        str, typer.Option(help="minilm-l6, small-2x128 (layers x width), a folder, or an encoder of the model hub.")
    ] = "minilm-l6",
    layers: Annotated[str, typer.Option(help="Layers of the base to keep, such as 0,2,5; all by default.")] = "",
    upper_layers: Annotated[
        int, typer.Option(min=0, help="How many layers to train, from the top; 0: all and the word vectors.")
    ] = 0,
    vocabulary: Annotated[int, typer.Option(min=0, help="Word pieces to keep; 0 keeps all.")] = 0,
    neurons: Annotated[int, typer.Option(min=0, help="Feed-forward neurons a layer keeps; 0 keeps all.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=8, help="Tokens of a review that the model reads.")] = 128,
    imbalance: Annotated[
        str,
        typer.Option(
            help="none, class-weights, focal, sampler, logit-adjustment (tau by validation) or corn (ordinal)."
        ),
    ] = "logit-adjustment",
    calibration: Annotated[
        str,
        typer.Option(
            help="temperature, bias-corrected (a bias for each class as well) or entropy-based (and a temperature "
            "that changes with how unsure the answer is), all by validation."
        ),
    ] = "entropy-based",
    teacher: Annotated[
        str | None,
        typer.Option(help="Checkpoint folder, `default`, `fast` or `champion` to learn from, beside the stars."),
    ] = None,
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="More reviews to learn from through the teacher alone; may be repeated.")
    ] = None,
    teacher_weight: Annotated[float, typer.Option(min=0, max=1, help="The teacher's part of the loss.")] = 0.7,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the reviews.")] = 2,
    patience: Annotated[int, typer.Option(min=0, help="Epochs without gain that end training; 0: never.")] = 2,
    learning_rate: Annotated[float, typer.Option(min=0, help="AdamW's highest learning rate.")] = 6e-5,
    batch_rows: Annotated[int, typer.Option(min=1, help="Reviews in a step of the optimizer.")] = 32,
    micro_rows: Annotated[int, typer.Option(min=0, help="Reviews in a forward pass; 0: the whole batch.")] = 0,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Share of activations dropped.")] = 0.1,
    test_share: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="About this share of reviews, by whole customers, is kept for evaluate."),
    ] = 0.1,
    validation_share: Annotated[
        float, typer.Option(min=0, max=0.5, help="About this share chooses the epoch, the calibration and tau.")
    ] = 0.08,
    train_only: TrainOnly = None,
    split_seed: Annotated[int, typer.Option(help="Seed of the split by customers.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the head, the batches and the dropout.")] = 0,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow's tracking URI to record the training at.")] = None,
) -> None:
    """Fine-tune an encoder on rated reviews and write a checkpoint folder.

    Whole customers are set apart, some by chance, some because they wrote the newest reviews.

    The test part is for `evaluate`; the validation part chooses the epoch, the calibration, and tau (how far labels
    lean to rare classes). A killed training goes on where it stopped when the same command is run again.

    A GPU is taken where there is one, unless REVIEWPULSE_DEVICE says cpu.
    """
    from training.command import Sources, parse_calibration, parse_imbalance, parse_layers, train_on_files
    from training.plan import Plan
    from training.recipe import Recipe
    from training.split import SplitPlan

    recipe = Recipe(
        epochs=epochs,
        batch_rows=batch_rows,
        micro_rows=micro_rows,
        learning_rate=learning_rate,
        dropout=dropout,
        patience=patience,
        imbalance=parse_imbalance(imbalance),
        teacher_weight=teacher_weight,
        seed=seed,
    )
    plan = Plan(
        name=name or into.name,
        base=base,
        layers=parse_layers(layers),
        upper_layers=upper_layers,
        vocabulary=vocabulary,
        neurons=neurons,
        max_tokens=max_tokens,
        teacher=str(_resolved(teacher)) if teacher == CHAMPION else teacher,
        train_only=tuple(train_only or ()),
        calibration=parse_calibration(calibration),
        split=SplitPlan(test_share=test_share, validation_share=validation_share, seed=split_seed),
        recipe=recipe,
    )
    sources = Sources(files, unlabelled or [])
    with (
        _interruptible("the same command goes on from the last snapshot, if one was kept (every five minutes)"),
        progress_on(Console(stderr=True), "train") as progress,
    ):
        card = train_on_files(
            sources, into, plan, now=datetime.now(UTC), progress=progress, device=load(WorkerSettings).device
        )
    figures = ", ".join(f"{figure} {value:.3f}" for figure, value in card.metrics.items())
    typer.echo(f"checkpoint {into}: on the reviews of the validation {figures}")
    if tracking_uri:
        from training.tracking import record_training

        typer.echo(f"recorded in MLflow as model version {record_training(into, tracking_uri)}")


def compare(
    files: Files,
    into: Annotated[Path, typer.Option(help="Folder for the checkpoints and the table.")],
    bases: Annotated[list[str], typer.Option("--base", help="A base as for train; may be repeated.")] = SMALLEST,
    imbalances: Annotated[
        list[str] | None, typer.Option("--imbalance", help="A strategy as for train; may be repeated; all by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=3, help="How many seeds each is trained with.")] = 3,
    side: Annotated[
        str, typer.Option(help="validation to choose by, or test for a last report, read once.")
    ] = "validation",
    vocabulary: Annotated[int, typer.Option(min=0, help="Word pieces to keep; 0 keeps all.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=8, help="Tokens of a review that the model reads.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the reviews.")] = 3,
    learning_rate: Annotated[float, typer.Option(min=0, help="AdamW's highest learning rate.")] = 5e-4,
    train_only: TrainOnly = None,
) -> None:
    """Train every imbalance strategy on every base with several seeds and write one table.

    Means and spread over the seeds, and a paired bootstrap against the best. All six strategies with three seeds are 18
    trainings: name fewer by --imbalance. A killed comparison goes on when the same command is run again.
    """
    from training.calibration import Calibration
    from training.command import Sources, parse_imbalance, parse_side
    from training.evaluation.comparison import Contestant, table, write_comparison
    from training.evaluation.comparison import compare as run_comparison
    from training.objectives import Imbalance
    from training.plan import Plan
    from training.recipe import Recipe

    strategies = [parse_imbalance(name) for name in imbalances] if imbalances else list(Imbalance)
    contestants = [Contestant(base, strategy) for base in bases for strategy in strategies]
    recipe = Recipe(epochs=epochs, learning_rate=learning_rate)
    plan = Plan(
        name=into.name,
        vocabulary=vocabulary,
        max_tokens=max_tokens,
        train_only=tuple(train_only or ()),
        calibration=Calibration.entropy_based,
        recipe=recipe,
    )
    sources = Sources(files)
    with (
        _interruptible("finished trainings are kept, and the same command goes on"),
        progress_on(Console(stderr=True), "compare") as progress,
    ):
        comparison = run_comparison(
            sources,
            into,
            plan,
            contestants,
            range(seeds),
            side=parse_side(side),
            now=datetime.now(UTC),
            progress=progress,
            device=load(WorkerSettings).device,
        )
    typer.echo(table(comparison))
    write_comparison(comparison, into)


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder, `default`, `fast` or `champion`.")],
    files: Files,
    into: Annotated[Path, typer.Option(help="Where each run gets a folder of its own.")] = Path("evaluations"),
    json: Annotated[Path | None, typer.Option("--json", help="Write metrics.json here as well.")] = None,
    training_files: Annotated[
        list[Path] | None, typer.Option(help="Files of the checkpoint's training, for the baselines to learn from.")
    ] = None,
    train_only: TrainOnly = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow's tracking URI to record the evaluation at.")] = None,
) -> None:
    """Measure a checkpoint on the reviews that it never saw, beside the majority and TF-IDF baselines.

    Texts and customers of its training and validation are left out, whichever file they come in. Writes metrics.json,
    metrics.txt and figures into a new folder under --into.
    """
    from training.evaluation.report import text_report
    from training.evaluation.run import METRICS_FILE, Reviews, evaluate_on_files

    reviews = Reviews(files, training_files or [], train_only or [])
    judged = _resolved(checkpoint)
    with _interruptible(NOTHING_WRITTEN), progress_on(Console(stderr=True), "evaluate") as progress:
        folder, evaluation = evaluate_on_files(
            judged, reviews, into, device=load(WorkerSettings).device, now=datetime.now(UTC), progress=progress
        )
    typer.echo(text_report(evaluation))
    typer.echo(f"figures and metrics: {folder}")
    if json:
        _copy(folder / METRICS_FILE, json)
    if tracking_uri:
        from training.tracking import record_evaluation

        record_evaluation(judged, folder / METRICS_FILE, tracking_uri)


@contextlib.contextmanager
def _interruptible(consequence: str) -> Iterator[None]:
    """Let Ctrl-C end the command with what that means for the work done so far."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped by Ctrl-C: {consequence}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _resolved(checkpoint: str) -> Path:
    return resolve_checkpoint(checkpoint, Path(load(RegistrySettings).models))


def _copy(metrics: Path, target: Path) -> None:
    try:
        target.write_bytes(metrics.read_bytes())
    except OSError as exc:
        raise ReviewpulseError(f"cannot write --json {target} ({exc.strerror}); the same is in {metrics}") from exc

"""A checkpoint's card.json: what a checkpoint must say of itself, read without torch."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from reviewpulse.errors import CheckpointError
from reviewpulse.labels import LABELS
from reviewpulse.records import NOT_JSON
from reviewpulse.text import CLEANING_VERSION

CARD_FILE: Final = "card.json"
BUNDLED: Final = Path(__file__).parent / "checkpoints"


ENTROPY_EXPONENTS: Final = (-0.1, 1.0)
"""Lowest and highest: below, an answer would become less sure where its logits say that it is surer."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Bias = Annotated[float, msgspec.Meta(ge=-20, le=20)]
Head = Literal["softmax", "corn"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """How a checkpoint reads its logits; chosen on validation, kept in its card."""

    head: Head = "softmax"
    """softmax: a logit for each label. corn: one for 'above label k, given above k - 1', k = 0 to 3 (CORN)."""
    temperature: Annotated[float, msgspec.Meta(ge=0.001, le=1000)] = 1.0
    """Divides the logits, so that a confidence is the share of right answers (Guo et al., 2017)."""
    entropy_exponent: Annotated[float, msgspec.Meta(ge=ENTROPY_EXPONENTS[0], le=ENTROPY_EXPONENTS[1])] = 0.0
    """Power of an answer's entropy, as a share of the highest one, that multiplies the temperature: above 0, an unsure
    answer is divided by more than a sure one (after the entropy-based temperature scaling of Balanya et al., 2022,
    which takes the softplus where this takes the exponential). Not for the head corn."""
    class_biases: tuple[Bias, Bias, Bias, Bias, Bias] = (0.0, 0.0, 0.0, 0.0, 0.0)
    """Added to the divided logits, in label order: takes back what training made of the classes' shares
    (bias-corrected temperature scaling, Alexandari et al., 2020). Not for the head corn."""
    label_by: Literal["probabilities", "logits"] = "probabilities"
    """probabilities: the label is the highest calibrated log-probability less tau times the log of its class's share.
    logits: what the model was trained to say, before temperature and biases, which would take back what weights or
    a sampler made of the classes' shares. That is the highest logit or, of the head corn, the number of ranks that
    the review is above with more than even chances (Shi, Cao and Raschka, 2021)."""
    tau: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0.0
    """Strength of the logit adjustment (Menon et al., 2021): 0 gives the most probable label, more helps rare ones."""
    class_shares: tuple[Share, Share, Share, Share, Share] = (0.2, 0.2, 0.2, 0.2, 0.2)
    """Of the reviews trained on, in label order: what tau adjusts for."""


class Recalibration(msgspec.Struct, frozen=True, kw_only=True):
    """How a checkpoint's decision was chosen anew after its training."""

    from_version: str
    """The version of the checkpoint whose weights these are."""
    calibration: str
    git_commit: str | None = None
    """Of the code that chose it, when it ran from a checkout."""


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained, from what, how well it did, and what scoring must agree on with training."""

    name: str
    version: str
    labels: tuple[str, ...]
    max_tokens: Annotated[int, msgspec.Meta(ge=3)]
    cleaning_version: int
    base: str
    decision: Decision
    seed: int
    training_reviews: int
    unlabelled_reviews: int = 0
    """Reviews without stars that it learned from through its teacher."""
    teacher: str | None = None
    """The teacher's name and version."""
    data_sha256: str
    """Of all texts and classes that were read, whatever the side they fell on."""
    plan: dict[str, Any]
    """All options of the training: base, layers, split, recipe."""
    validation_after: int | None = None
    test_after: int | None = None
    """Times (ms UTC) from which on a customer's reviews were set apart; None where no review was dated."""
    trained_at: str
    git_commit: str | None = None
    """Of the training code, when it ran from a checkout."""
    metrics: dict[str, float]
    """On the validation reviews, which chose the epoch and the decision: training learned nothing from them."""
    libraries: dict[str, str]
    recalibration: Recalibration | None = None
    """None where the decision is the training's own."""

    def write(self, folder: Path) -> None:
        """Write card.json into the folder."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=2)
        (folder / CARD_FILE).write_bytes(text + b"\n")


def find_checkpoint(name_or_folder: str) -> Path:
    """Return the folder of a bundled checkpoint's name, such as `default`, or of a path: `./default` is a folder.

    Raises CheckpointError when there is none.
    """
    bundled = [] if "/" in name_or_folder else [BUNDLED / name_or_folder]
    for folder in (*bundled, Path(name_or_folder)):
        if (folder / CARD_FILE).is_file():
            return folder
    names = ", ".join(sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD_FILE}"))) or "none"
    raise CheckpointError(
        f"{name_or_folder} is no checkpoint: no bundled one has that name (there is: {names}) and no folder "
        f"there holds a {CARD_FILE}; run 'reviewpulse train' to make one"
    )


def checkpoint_sha256(folder: Path) -> str:
    """Return a hash of what a checkpoint's answers come from: weights, tokenizer and card."""
    digest = hashlib.sha256()
    for name in ("model.safetensors", "tokenizer.json", CARD_FILE):
        try:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as exc:
            raise CheckpointError(f"cannot read {folder / name} ({exc.strerror}); copy the checkpoint anew") from exc
    return digest.hexdigest()


def read_card(folder: Path) -> Card:
    """Return the folder's card; raises CheckpointError when it is missing or does not fit this version."""
    path = folder / CARD_FILE
    try:
        card = msgspec.json.decode(path.read_bytes(), type=Card)
    except OSError as exc:
        raise CheckpointError(f"cannot read {path} ({exc.strerror}); run 'reviewpulse train' to make it") from exc
    except NOT_JSON as exc:
        raise CheckpointError(f"{path} is no card of this version: {exc}; train the checkpoint again") from exc
    if not (card.name + card.version).isprintable():
        raise CheckpointError(f"{path} gives a name or version with signs that cannot be printed; change it there")
    if card.labels != LABELS:
        raise CheckpointError(f"{folder} gives the labels {card.labels}, the stream needs {LABELS}; train it again")
    if card.cleaning_version != CLEANING_VERSION:
        raise CheckpointError(
            f"{folder} was trained on texts cleaned by version {card.cleaning_version}, "
            f"this reviewpulse cleans by version {CLEANING_VERSION}; train it again"
        )
    return card

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from reviewpulse.card import read_card
from reviewpulse.errors import CheckpointError, ReviewFileError, TrainingError
from reviewpulse.progress import SilentProgress
from tests.training.examples import quick_plan, write_reviews
from training.command import Sources, train_on_files
from training.evaluation.baselines import MAJORITY, TFIDF, TUNED_TFIDF
from training.evaluation.evaluate import MODEL, Evaluation
from training.evaluation.promotion import judge
from training.evaluation.report import text_report
from training.evaluation.run import Reviews, evaluate_on_files
from training.split import SplitPlan

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("reviews") / "reviews.jsonl", 2_000)


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path, reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    plan = quick_plan(tiny_checkpoint, split=SplitPlan(test_share=0.2))
    plan = msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, epochs=2))
    folder = tmp_path_factory.mktemp("checkpoints") / "mine"
    train_on_files(Sources([reviews]), folder, plan, now=NOW, progress=SilentProgress())
    return folder


def run(checkpoint: Path, into: Path, *files: Path, training_files: tuple[Path, ...] = ()) -> tuple[Path, Evaluation]:
    reviews = Reviews(files, training_files)
    return evaluate_on_files(checkpoint, reviews, into, device="cpu", now=NOW, progress=SilentProgress())


def test_only_reviews_that_training_never_saw_are_evaluated_on(checkpoint: Path, reviews: Path, tmp_path: Path) -> None:
    folder, evaluation = run(checkpoint, tmp_path, reviews)

    assert folder == tmp_path / "mine-20260102-000000"
    assert evaluation.left_out_training == read_card(checkpoint).training_reviews
    assert evaluation.reviews + evaluation.left_out_training + evaluation.left_out_validation == 2_000
    assert 300 <= evaluation.reviews <= 500
    assert evaluation.candidates[MODEL].overall["accuracy"] > 0.9
    assert evaluation.candidates[TFIDF].overall["accuracy"] > 0.9
    assert evaluation.candidates[MAJORITY].overall["accuracy"] < 0.6
    assert set(evaluation.above) == {MAJORITY, TFIDF, TUNED_TFIDF}
    assert evaluation.above[MAJORITY].low > 0.1
    assert set(evaluation.candidates[MODEL].categories) == {"Games", "Toys"}
    rates = {name: figures.reviews_per_second for name, figures in evaluation.candidates.items()}
    assert rates[MAJORITY] is None
    assert (rates[MODEL] or 0) > 1 < (rates[TFIDF] or 0)
    weights = (checkpoint / "model.safetensors").stat().st_size
    assert weights * 0.8 < evaluation.weights_bytes < weights


def test_figures_without_titles_that_give_the_stars_away_stand_apart(
    checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in reviews.read_text().splitlines()]
    told = [row | {"text": f"{row['text']}000", "user_id": f"another {place}"} for place, row in enumerate(rows)]
    told = [row | {"title": "Five Stars" if row["rating"] == 1 else None} for row in told]
    path = tmp_path / "told.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*told, told[0]]))

    folder, evaluation = run(checkpoint, tmp_path, path)

    assert evaluation.star_title_reviews == 1_000
    assert evaluation.left_out_repeats == 1
    figures = evaluation.candidates[MODEL]
    assert figures.without_star_titles is not None
    assert figures.without_star_titles["accuracy"] == figures.classes["very positive"].recall > 0.5
    assert (
        "macro-F1 without the 1,000 reviews whose title says nothing but the stars"
        in (folder / "metrics.txt").read_text()
    )


def test_an_evaluation_leaves_a_folder_that_says_all(checkpoint: Path, reviews: Path, tmp_path: Path) -> None:
    folder, evaluation = run(checkpoint, tmp_path, reviews)

    assert sorted(path.name for path in folder.iterdir()) == [
        "confidence.png",
        "confusion.png",
        "metrics.json",
        "metrics.txt",
        "reliability.png",
        "training.png",
        "training_history.json",
    ]
    assert msgspec.json.decode((folder / "metrics.json").read_bytes(), type=Evaluation) == evaluation
    said = (folder / "metrics.txt").read_text()
    assert f"checkpoint mine, version 20260102-000000, on {evaluation.reviews} reviews of reviews.jsonl" in said
    assert "tf-idf + logistic regression" in said
    assert (folder / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_strange_reviews_are_all_evaluated_on_and_the_baseline_needs_the_training_files(
    checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    strange = write_reviews(tmp_path / "strange.jsonl", 90, title="so", user_id=None, timestamp=None)

    _, without = run(checkpoint, tmp_path / "a", strange)
    _, beside = run(checkpoint, tmp_path / "b", strange, training_files=(reviews,))

    assert (without.reviews, without.left_out_training, without.baseline_reviews) == (90, 0, 0)
    assert set(without.candidates) == {MODEL, MAJORITY}
    assert (beside.reviews, beside.left_out_training, beside.left_out_repeats) == (90, 0, 0)
    assert beside.baseline_reviews == read_card(checkpoint).training_reviews
    assert set(beside.candidates) == {MODEL, MAJORITY, TFIDF, TUNED_TFIDF}
    assert beside.candidates[MODEL].confusion == without.candidates[MODEL].confusion


def test_a_baseline_that_learned_from_much_less_than_the_checkpoint_is_said_to(
    checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    lines = reviews.read_text().splitlines(keepends=True)
    part = tmp_path / "part.jsonl"
    part.write_text("".join(lines[:600]))

    _, of_part = run(checkpoint, tmp_path / "part", part)
    _, of_all = run(checkpoint, tmp_path / "all", reviews)

    trained = read_card(checkpoint).training_reviews
    handicap = f", which learned from only {of_part.baseline_reviews:,} of the checkpoint's {trained:,} reviews"
    assert [line.endswith(handicap) for line in text_report(of_part).splitlines() if "against" in line] == [
        False,
        True,
        True,
    ]
    assert "learned from only" not in text_report(of_all)


def test_a_known_customer_or_text_is_left_out_of_a_strange_file(
    checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in reviews.read_text().splitlines()]
    for row in rows:
        row["title" if row["rating"] == 1 else "user_id"] = "another"
    strange = tmp_path / "strange.jsonl"
    strange.write_text("".join(json.dumps(row) + "\n" for row in rows))

    _, evaluation = run(checkpoint, tmp_path, strange)

    assert evaluation.left_out_training == read_card(checkpoint).training_reviews


def test_a_category_or_a_file_name_neither_commands_the_terminal_nor_forges_a_row(
    checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    category = "Toys\x1b]0;PWNED\x07\x1b[31m\u202e\nfake   999"
    hostile = write_reviews(
        tmp_path / "a\x1b[31m.jsonl", 60, title="so", user_id=None, timestamp=None, category=category
    )

    folder, evaluation = run(checkpoint, tmp_path, hostile)

    said = text_report(evaluation)
    assert all(letter.isprintable() or letter == "\n" for letter in said), said
    assert r"\nfake   999" in said
    assert r"a\x1b[31m.jsonl" in said
    assert (folder / "metrics.txt").read_text() == said


def test_ctrl_c_while_the_figures_are_drawn_leaves_no_half_folder(
    checkpoint: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.evaluation.run.draw_evaluation", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run(checkpoint, tmp_path / "evaluations", reviews)

    assert not list((tmp_path / "evaluations").iterdir())


def test_a_dollar_in_a_checkpoints_name_is_no_formula(checkpoint: Path, reviews: Path, tmp_path: Path) -> None:
    priced = tmp_path / "priced"
    shutil.copytree(checkpoint, priced)
    msgspec.structs.replace(read_card(checkpoint), name=r"$\frac{$").write(priced)

    folder, _ = run(priced, tmp_path, reviews)

    assert (folder / "confusion.png").exists()


def test_a_file_without_a_rated_review_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no rated review is left to evaluate on"):
        run(checkpoint, tmp_path / "runs", write_reviews(tmp_path / "unrated.jsonl", 20, rating=None))

    assert list((tmp_path / "runs").iterdir()) == []


def test_a_file_that_is_not_there_is_named_before_another_is_read(
    checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.jsonl"

    for files, training_files in (((reviews, missing), ()), ((reviews,), (missing,))):
        with pytest.raises(ReviewFileError, match=r"cannot read .*missing\.jsonl: No such file"):
            run(checkpoint, tmp_path / "runs", *files, training_files=training_files)
    with pytest.raises(ReviewFileError, match=r"cannot read .*missing\.jsonl: No such file"):
        judge(checkpoint, checkpoint, Reviews([reviews, missing]), SilentProgress())

    assert list((tmp_path / "runs").iterdir()) == []


def test_rows_for_training_only_are_never_evaluated_on(checkpoint: Path, tmp_path: Path) -> None:
    restored = write_reviews(
        tmp_path / "restored.jsonl", 60, title="so", user_id=None, timestamp=None, source="finefood_recovered"
    )

    with pytest.raises(TrainingError, match=r"no rated review is left.*, and 60 are of sources for training only"):
        run(checkpoint, tmp_path, restored)


def test_what_training_had_for_training_only_is_never_evaluated_on_either(
    checkpoint: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    plan = quick_plan(tiny_checkpoint, train_only=("synthetic",))
    plan = msgspec.structs.replace(plan, recipe=msgspec.structs.replace(plan.recipe, epochs=1))
    reviews = write_reviews(tmp_path / "reviews.jsonl", 300)
    train_on_files(Sources([reviews]), tmp_path / "mine", plan, now=NOW, progress=SilentProgress())
    made = write_reviews(tmp_path / "a.jsonl", 600, title="so", user_id=None, timestamp=None, source="synthetic")

    assert run(checkpoint, tmp_path / "runs", made)[1].reviews == 600
    with pytest.raises(TrainingError, match="no rated review is left"):
        run(tmp_path / "mine", tmp_path / "others", made)
    with pytest.raises(TrainingError, match=r"0 reviews of a\.jsonl .*neither checkpoint, and 600 more are of sources"):
        judge(checkpoint, tmp_path / "mine", Reviews([made]), SilentProgress())
    junk = msgspec.structs.replace(read_card(checkpoint), plan={"train_only": 5})
    with pytest.raises(CheckpointError, match="train_only in the card's plan"):
        Reviews([made]).as_trained(junk)


def test_a_checkpoint_that_does_not_say_what_it_knows_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not say which reviews it was trained on"):
        run(tiny_checkpoint, tmp_path, write_reviews(tmp_path / "a.jsonl", 50))


def test_a_worse_challenger_loses_on_reviews_that_neither_saw(
    checkpoint: Path, tiny_checkpoint: Path, reviews: Path, tmp_path: Path
) -> None:
    plan = quick_plan(tiny_checkpoint, split=SplitPlan(test_share=0.2))
    recipe = msgspec.structs.replace(plan.recipe, epochs=1, learning_rate=1e-9)
    untrained = tmp_path / "untrained"
    plan = msgspec.structs.replace(plan, recipe=recipe)
    train_on_files(Sources([reviews]), untrained, plan, now=NOW, progress=SilentProgress())

    lost = judge(untrained, checkpoint, Reviews([reviews]), SilentProgress())
    won = judge(checkpoint, untrained, Reviews([reviews]), SilentProgress())

    assert lost.difference.is_loss
    assert not won.difference.is_loss
    assert lost.reviews == won.reviews > 300
    assert "reviews that neither saw" in str(lost)
    with pytest.raises(TrainingError, match="too few to judge by"):
        judge(checkpoint, untrained, Reviews([write_reviews(tmp_path / "few.jsonl", 20)]), SilentProgress())


def test_reviews_that_lack_a_class_which_training_knew_judge_nobody(checkpoint: Path, tmp_path: Path) -> None:
    praise = write_reviews(tmp_path / "praise.jsonl", 600, title="so", user_id=None, timestamp=None, rating=5)

    with pytest.raises(TrainingError, match=r"the 600 reviews .* too few of very negative \(0\) to judge by"):
        judge(checkpoint, checkpoint, Reviews([praise]), SilentProgress())

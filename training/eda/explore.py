"""Looks at review files before a training: what is in them, as a folder with a report and figures."""

import shutil
import sqlite3
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from reviewpulse.errors import TrainingError
from reviewpulse.files import check_file, read_rows
from reviewpulse.progress import Progress, Status
from training.eda.figures import write_figures
from training.eda.records import Report
from training.eda.repeats import Repeats
from training.eda.report import markdown
from training.eda.tally import Tally


def explore(files: Sequence[Path], into: Path, *, now: datetime, progress: Progress) -> Path:
    """Write report.md, report.json and the figures into the new folder `into` and return it.

    Reads each file once, at a memory that does not grow with it; the disk beside `into` takes some
    50 bytes a review meanwhile. The folder appears only when it is whole. now is aware; reviews
    dated later are told apart. Raises ReviewFileError when a file cannot be read, TrainingError when
    `into` exists, cannot be written, or the files hold no review.
    """
    if into.exists():
        raise TrainingError(f"{into} exists already; name another folder by --into, or remove it first")
    for path in files:
        check_file(path)
    unfinished = into.with_name(f"{into.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        unfinished.mkdir(parents=True)
        report = count_files(files, unfinished / "repeats.db", now=now, progress=progress)
        _write(report, unfinished, progress)
        unfinished.rename(into)
    except (OSError, sqlite3.Error) as exc:
        raise TrainingError(f"cannot write {into} ({exc}); make room or name another folder by --into") from exc
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return into


def count_files(files: Sequence[Path], repeats_file: Path, *, now: datetime, progress: Progress) -> Report:
    """Return what the files hold; repeats_file, which must not exist, is there meanwhile only.

    Raises ReviewFileError when a file cannot be read, TrainingError when none holds a review.
    """
    sizes_bytes = [path.stat().st_size for path in files]
    with Repeats(repeats_file) as repeats:
        tally = Tally(repeats, now)
        for number, path in enumerate(files):
            tally.begin_file(path)
            show = _shower(path, sum(sizes_bytes[:number]), sum(sizes_bytes), progress)
            for row in read_rows(path, show):
                tally.add(row)
        report = tally.report()
    repeats_file.unlink()
    if not report.total.reviews:
        raise TrainingError(_no_review(report))
    return report


def _no_review(report: Report) -> str:
    why = ", ".join(f"{row.name} ({row.count:,})" for row in report.rejections)
    return (
        f"none of the {report.total.rows:,} rows is a review: {why or 'there are no rows'}; "
        "give files that `reviewpulse publish` reads"
    )


def _write(report: Report, folder: Path, progress: Progress) -> None:
    progress.show(Status(1, 1, "drawing"))
    (folder / "report.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    (folder / "report.md").write_text(markdown(report), encoding="utf-8")
    write_figures(report, folder)


def _shower(path: Path, before_bytes: int, total_bytes: int, progress: Progress) -> Callable[[int], None]:
    return lambda done_bytes: progress.show(Status(before_bytes + done_bytes, total_bytes, f"reading {path.name}"))

"""Publishes files of reviews: rows > reviews > pace > Kafka, with every row accounted for."""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from producer.pace import pace_of
from producer.reading import read_reviews
from producer.rejects import Ledger, Place, RejectedRow
from producer.report import PublishReport
from producer.sender import Sender, open_client
from reviewpulse.broker import ensure_topics
from reviewpulse.errors import ReviewFileError, SettingsError
from reviewpulse.files import check_file
from reviewpulse.progress import Progress, RateMeter, SilentProgress, Status
from reviewpulse.settings import KafkaSettings, ProducerSettings
from reviewpulse.stopping import Stop

_SLICE_SECONDS: Final = 0.2  # of waiting for the pace, between two looks at whether to stop
_SHOW_SECONDS: Final = 0.2


class PublishOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How fast to publish, how many reviews, and whether to begin again at the end until stopped."""

    rate_per_second: float | None = None
    speedup: float | None = None
    limit: int | None = None
    loop: bool = False


def run(
    files: Sequence[Path],
    kafka: KafkaSettings,
    settings: ProducerSettings,
    options: PublishOptions,
    *,
    progress: Progress | None = None,
    stop: Stop | None = None,
) -> PublishReport:
    """Publish the files' reviews, in order, and say what came of it.

    Returns once each review sent has its delivery report or its delivery_seconds have passed. Raises,
    before anything is sent, SettingsError for options that make no sense, ReviewFileError for a file
    that cannot be read and BrokerError when no Kafka answers; later faults are in the report.
    """
    check_request(files, settings, options)
    ensure_topics(kafka)
    stop = stop or Stop()
    with (
        Ledger(Path(settings.rejects_file)) as ledger,
        open_client(kafka, settings.delivery_seconds) as client,
    ):
        sender = Sender(
            client, kafka.reviews_topic, settings.delivery_seconds, ledger.lose, is_urgent=lambda: stop.is_urgent
        )
        return Publication(files, options, sender, ledger, stop).run(progress or SilentProgress())


def check_request(files: Sequence[Path], settings: ProducerSettings, options: PublishOptions) -> None:
    """Raise SettingsError or ReviewFileError for what cannot work, before anything is done."""
    pace_of(options.rate_per_second, options.speedup)
    if options.limit is not None and options.limit < 1:
        raise SettingsError(f"--limit {options.limit} must be 1 or more; leave it out to send all")
    for path in files:
        check_file(path)
        if path.resolve() == Path(settings.rejects_file).resolve():
            raise SettingsError(f"{path} would be overwritten with rejected rows; set REVIEWPULSE_REJECTS_FILE")


class Publication:
    """One run over the files; `clock` counts seconds and `sleep` waits for some."""

    def __init__(
        self,
        files: Sequence[Path],
        options: PublishOptions,
        sender: Sender,
        ledger: Ledger,
        stop: Stop,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._files = files
        self._options = options
        self._sender = sender
        self._ledger = ledger
        self._stop = stop
        self._clock = clock
        self._sleep = sleep
        self._progress: Progress = SilentProgress()
        self._meter = RateMeter()
        self._total_bytes = sum(path.stat().st_size for path in files)
        self._read_bytes = 0
        self._started = self._shown = clock()
        self._last_place: Place | None = None
        self._is_cut_short = False

    def run(self, progress: Progress) -> PublishReport:
        """Send, wait for the delivery reports, and report."""
        self._progress = progress
        fault = None
        try:
            self._send_all()
        except ReviewFileError as exc:
            fault = str(exc)
        self._sender.settle()
        return PublishReport(
            sent=self._sender.sent,
            delivered=self._sender.delivered,
            undelivered=self._sender.undelivered,
            rejected=self._ledger.rejects.rows,
            commonest_reason=next(iter(self._ledger.kinds.most_common(1)), None),
            seconds=self._clock() - self._started,
            rejects_file=self._ledger.rejects.path,
            undelivered_file=self._ledger.undelivered.path,
            first_undelivered=tuple(self._ledger.first_undelivered),
            outage=self._sender.outage,
            fault=fault,
            last_place=None if self._last_place is None else str(self._last_place),
            is_interrupted=self._is_cut_short,
            is_endless=self._options.loop and self._options.limit is None,
        )

    def _send_all(self) -> None:
        """Send the files' reviews, once or until something ends it; rows are rejected in the first round only."""
        for round_number in itertools.count():
            sent_before = self._sender.sent
            ended = self._send_round(is_first=round_number == 0)
            if ended or not self._options.loop:
                return
            if self._sender.sent == sent_before:
                raise ReviewFileError("there is no review in the files; --loop has nothing to repeat")

    def _send_round(self, *, is_first: bool) -> bool:
        """Send each review when it is due; return whether something ended it before the files did."""
        pace = pace_of(self._options.rate_per_second, self._options.speedup)
        for place, outcome in read_reviews(self._files, self._note_bytes):
            if isinstance(outcome, RejectedRow):
                if is_first:
                    self._ledger.reject(outcome)
            else:
                self._wait(pace.wait_seconds(outcome.timestamp, self._clock()))
                if not self._stop.is_requested and self._sender.send(outcome, place):
                    self._last_place = place
            self._show()
            self._is_cut_short = self._stop.is_requested
            if self._is_cut_short or self._sender.outage or self._sender.sent == self._options.limit:
                return True
        return False

    def _wait(self, seconds: float) -> None:
        """Wait for the pace, in slices, so that a stop is noticed and the bar goes on."""
        until = self._clock() + seconds
        while seconds > 0 and not self._stop.is_requested:
            self._sleep(min(seconds, _SLICE_SECONDS))
            self._show()
            seconds = until - self._clock()

    def _note_bytes(self, read_bytes: int) -> None:
        self._read_bytes = read_bytes

    def _show(self) -> None:
        """Show how far it is, a few times a second."""
        now = self._clock()
        if now - self._shown < _SHOW_SECONDS:
            return
        self._shown = now
        sent, limit = self._sender.sent, self._options.limit
        note = f"{sent:,} reviews, {self._meter.rate_per_second(sent, now):,.0f}/s"
        if self._ledger.rejects.rows:
            note += f", {self._ledger.rejects.rows:,} rows rejected"
        if limit is not None:
            self._progress.show(Status(sent, limit, note))
        else:
            self._progress.show(Status(self._read_bytes, None if self._options.loop else self._total_bytes, note))

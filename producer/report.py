"""What came of a publication: counts that add up, where the rest is, and the exit code."""

from pathlib import Path
from typing import Final

import msgspec

OK: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130
"""What a shell expects of a command that Ctrl-C ended."""


class PublishReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a publication: sent = delivered + undelivered."""

    sent: int
    delivered: int
    undelivered: int
    rejected: int
    commonest_reason: tuple[str, int] | None = None
    """The kind of reason that rejected the most rows, and how many; None without a rejected row."""
    seconds: float
    rejects_file: Path
    undelivered_file: Path
    first_undelivered: tuple[str, ...] = ()
    """The first few places, as file:line."""
    outage: str | None = None
    """What went wrong with Kafka, when that ended it."""
    fault: str | None = None
    """What went wrong with a file, when that ended it."""
    last_place: str | None = None
    """The last row that was sent, as file:line."""
    is_interrupted: bool = False
    is_endless: bool = False

    @property
    def is_without_review(self) -> bool:
        """Whether rows were read to the end and none was a review."""
        return bool(self.rejected) and not (self.sent or self.fault or self.is_interrupted)

    @property
    def exit_code(self) -> int:
        """0 when all was delivered, 1 when not, 130 when Ctrl-C cut short what has an end.

        Rejected rows are a failure only where no row was a review, and Ctrl-C is how an endless publication ends.
        """
        if self.undelivered or self.outage or self.fault or self.is_without_review:
            return FAILED
        return INTERRUPTED if self.is_interrupted and not self.is_endless else OK

    def lines(self) -> list[str]:
        """Return what to tell the user, a line each."""
        rate = self.delivered / self.seconds if self.seconds > 0 else 0.0
        told = [f"delivered {self.delivered:,} of {self.sent:,} reviews sent, in {self.seconds:.1f} s ({rate:,.0f}/s)"]
        if self.commonest_reason:
            told.append(
                f"rejected {self.rejected:,} rows that are no review, "
                f"most often for {_counted(self.commonest_reason)}; they and the reasons: {self.rejects_file}"
            )
        if self.undelivered:
            places = ", ".join(self.first_undelivered) + (
                ", ..." if self.undelivered > len(self.first_undelivered) else ""
            )
            told.append(f"NOT confirmed by Kafka: {self.undelivered:,} reviews ({places})")
            told.append(
                f"they are in {self.undelivered_file}; send them with: reviewpulse publish {self.undelivered_file}"
            )
        if self.outage:
            told.append(
                f"Kafka stopped taking reviews ({self.outage}); see that it runs and REVIEWPULSE_BROKER is its address"
            )
        if self.fault:
            told.append(self.fault)
        if self.last_place and (self.outage or self.fault or (self.is_interrupted and not self.is_endless)):
            told.append(f"stopped after {self.last_place}; the rows behind it were not sent")
        if self.is_without_review and self.commonest_reason:
            told.append(
                f"no row of the files is a review, most often for {_counted(self.commonest_reason)}; "
                "the README names the columns that are read"
            )
        return told


def _counted(reason: tuple[str, int]) -> str:
    """Return a kind of reason with its count.

    >>> _counted(("no text", 1200))
    'no text (1,200)'
    """
    return f"{reason[0]} ({reason[1]:,})"

"""What `reviewpulse verify` says at its end, for people."""

from collections.abc import Iterator

from reviewpulse.visible import visible_line
from stream_app.report import Difference, Fault, Report

MEANINGS = {
    Fault.LOST: "records without a row",
    Fault.DOUBLED: "records with more than one row",
    Fault.DIFFERING: "rows or predictions that say something else than the record",
    Fault.UNPUBLISHED: "rows without a record in predictions or rejected",
    Fault.FOREIGN: "rows or published records without a record in the topic",
    Fault.ROLLUP: "roll-ups that do not add up",
}


def lines(report: Report) -> Iterator[str]:
    """Yield the summary, then the first differences, then the verdict."""
    yield f"topic {report.topic}, id {report.topic_id}"
    for name, counted in _counts(report):
        yield f"  {name:<72}{counted:>12}"
    yield "differences"
    for fault, count in report.faults.items():
        yield f"  {f'{fault}: {MEANINGS[fault]}':<72}{count:>12,}"
    for difference in report.differences:
        yield f"{difference.fault}: {where(difference)}: {visible_line(difference.what, 300)}"
    left = sum(report.faults.values()) - len(report.differences)
    if left > 0:
        yield f"... and {left:,} more; --first names more of them"
    yield _verdict(report)


def where(difference: Difference) -> str:
    """Return a difference's place.

    >>> where(Difference(Fault.LOST, "reviews", 2, 17, "no row"))
    'reviews 2/17'
    """
    if difference.partition is None:
        return difference.topic
    return f"{difference.topic} {difference.partition}/{difference.offset}"


def _counts(report: Report) -> Iterator[tuple[str, str]]:
    yield "records checked", f"{report.records:,}"
    yield "  stored as predictions", f"{report.scored:,}"
    yield "  stored as rejections", f"{report.rejected:,}"
    yield "    of which the decoder takes (the model failed, or too long)", f"{report.rejected_readable:,}"
    yield "  stored with a text that was cut", f"{report.cut:,}"
    yield "  not processed yet (lag)", f"{report.not_yet_processed:,}"
    yield "  row pruned after its time", f"{report.pruned:,}"
    yield "rows whose record is no longer in the topic", f"{report.no_longer_in_topic:,}"
    yield "predictions published", f"{report.predictions:,}"
    yield "rejected records published", f"{report.rejected_records:,}"
    yield "  repeated with the same event id (allowed)", f"{report.repeated:,}"
    yield "  published, not stored yet", f"{report.in_flight:,}"
    yield "  of other sources", f"{report.of_other_sources:,}"
    yield "rows whose published record Kafka's retention may have deleted", f"{report.no_longer_published:,}"
    yield "rows of other sources, not checked", f"{report.rows_of_other_sources:,}"
    yield "reviews counted by the roll-up", f"{report.rolled_up:,}"


def _verdict(report: Report) -> str:
    """Return the last line; it does not vouch for what the retentions may have taken."""
    if not report.is_well:
        return f"NOT well: {sum(report.faults.values()):,} differences"
    gone = {
        "rows": report.pruned,
        "records": report.no_longer_in_topic,
        "published records": report.no_longer_published,
    }
    if not any(gone.values()):
        return "all is well: nothing lost, nothing twice"
    named = ", ".join(f"{count:,} {what}" for what, count in gone.items() if count)
    return f"nothing lost, nothing twice in what can be checked; not checked, for their age: {named}"

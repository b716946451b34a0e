"""Numbers and moments as people read them."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from reviewpulse.text import readable

NOTHING: Final = "\N{EN DASH}"

_FARTHEST_MINUTES: Final = 14 * 60  # the zones of the world lie between UTC-12 and UTC+14


def zone_of(minutes_east: object) -> timezone:
    """Return the viewer's time zone from what the browser says; UTC when it says nothing usable.

    >>> zone_of(120), zone_of("?")
    (datetime.timezone(datetime.timedelta(seconds=7200)), datetime.timezone.utc)
    """
    if isinstance(minutes_east, int) and abs(minutes_east) <= _FARTHEST_MINUTES:
        return timezone(timedelta(minutes=minutes_east))
    return UTC


def clock(moment: datetime, now: datetime, zone: timezone) -> str:
    """Return the time of day in a zone, with the date when it is another day than now.

    >>> clock(datetime(2024, 5, 3, 14, 3, 9, tzinfo=UTC), datetime(2024, 5, 3, 15, tzinfo=UTC), UTC)
    '14:03:09'
    """
    local = moment.astimezone(zone)
    is_today = local.date() == now.astimezone(zone).date()
    return f"{local:%H:%M:%S}" if is_today else f"{local:%Y-%m-%d %H:%M:%S}"


def age(moment: datetime, now: datetime) -> str:
    """Return how long ago a moment was; a moment ahead of now, by another machine's clock, is 0 s ago.

    >>> age(datetime(2024, 5, 3, tzinfo=UTC), datetime(2024, 5, 3, 0, 2, 5, tzinfo=UTC))
    '2 min'
    """
    seconds = max(0, int((now - moment).total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600} h"
    return f"{seconds // 86400} d"


def span(minutes: float) -> str:
    """Return the length of a window.

    >>> span(15.0), span(0.5), span(120), span(1)
    ('15 minutes', '30 seconds', '2 hours', 'minute')
    """
    if minutes < 1:
        return f"{minutes * 60:g} seconds"
    if minutes == 1:
        return "minute"
    if minutes > 60 and minutes % 60 == 0:
        return f"{minutes / 60:g} hours"
    return f"{minutes:g} minutes"


def count(number: int) -> str:
    """Return a whole number with its thousands apart.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def rate(per_second: float) -> str:
    """Return a rate: one decimal below a hundred, none above.

    >>> rate(1.26), rate(512.4)
    ('1.3', '512')
    """
    return f"{per_second:.1f}" if per_second < 100 else f"{per_second:,.0f}"


def percent(share: float) -> str:
    """Return a share as a whole percentage.

    >>> percent(0.256)
    '26\\xa0%'
    """
    return f"{share:.0%}".replace("%", "\N{NO-BREAK SPACE}%")


def rating(stars: float) -> str:
    """Return the stars that the customer gave.

    >>> rating(4.0), rating(4.5)
    ('4', '4.5')
    """
    return f"{stars:g}"


def cut(text: str, characters: int) -> str:
    """Return readable text on one line and no longer than this, with an ellipsis where it was cut.

    >>> cut("good<br />enough", 20), cut("far too long", 8)
    ('good enough', 'far too…')
    """
    line = readable(text)
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"

"""When a cron entry is due next. Pure: minutes in, a minute out. The only part of the supervisor that knows wall time.

Five fields (minute, hour, day, month, weekday), or six with seconds first, of which only 0 is taken: nobody restarts twice a minute.
As in crontab(5): where both day and weekday are given, either will do; names of months and days, steps, ranges and lists are known.
"""

import time

TYPE_CHECKING = False  # of typing, without importing it
if TYPE_CHECKING:
    from typing import Final

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MINUTE, HOUR, DAY = 60, 3600, 86400
FURTHEST = 5 * 366
"""Days that are looked through: the 29th of February is there within them."""


class Entry:
    """A cron entry, as sets of numbers."""

    __slots__ = ("any_day", "any_weekday", "days", "hours", "minutes", "months", "weekdays")

    def __init__(self, text: str) -> None:
        """Raises ValueError, in words, for what is no entry."""
        fields = NICKNAMES.get(text.strip().lower(), text).split()
        if len(fields) == 6 and fields[0] == "0":
            fields = fields[1:]
        if len(fields) != 5:
            raise ValueError(
                f"{text!r} has {len(fields)} fields; write minute, hour, day, month and weekday, as in 0 4 * * *"
            )
        self.minutes: Final = _set(fields[0], 0, 59)
        self.hours: Final = _set(fields[1], 0, 23)
        self.days: Final = _set(fields[2], 1, 31)
        self.months: Final = _set(fields[3], 1, 12, MONTHS, 1)
        self.weekdays: Final = frozenset(day % 7 for day in _set(fields[4], 0, 7, DAYS))
        self.any_day: Final = fields[2] in ("*", "?")
        self.any_weekday: Final = fields[4] in ("*", "?")

    def matches_day(self, month: int, day: int, weekday: int) -> bool:
        """`weekday` counts from Sunday."""
        if month not in self.months:
            return False
        by_day, by_weekday = day in self.days, weekday in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday

    def next(self, after: float) -> "float | None":
        """The next time, in seconds since the epoch, local time deciding; None where there is none (the 31st of February).

        A time that a change of the clock leaves out is made up for right after it; one that comes twice counts once.
        """
        now = time.localtime(after)
        for offset in range(FURTHEST):
            noon = time.mktime((now.tm_year, now.tm_mon, now.tm_mday + offset, 12, 0, 0, 0, 0, -1))
            day = time.localtime(noon)
            if not self.matches_day(day.tm_mon, day.tm_mday, (day.tm_wday + 1) % 7):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    when = time.mktime((day.tm_year, day.tm_mon, day.tm_mday, hour, minute, 0, 0, 0, -1))
                    if when > after:
                        return when
        return None


def _set(field: str, low: int, high: int, names: "tuple[str, ...]" = (), first: int = 0) -> "frozenset[int]":
    found: set[int] = set()
    for part in field.lower().split(","):
        span, slash, step = part.partition("/")
        if span in ("*", "?"):
            begin, end = low, high
        else:
            left, dash, right = span.partition("-")
            begin = _number(left, names, first, field)
            end = _number(right, names, first, field) if dash else (high if slash else begin)
        every = int(step) if step.isdigit() and len(step) < 4 else (0 if slash else 1)
        if not (low <= begin <= end <= high and every):
            raise ValueError(f"{field!r} is no list of numbers from {low} to {high}; write *, 5, 1-5, */10 or 1,15")
        found.update(range(begin, end + 1, every))
    return frozenset(found)


def _number(text: str, names: "tuple[str, ...]", first: int, field: str) -> int:
    if text in names:
        return names.index(text) + first
    if not text.isdigit() or len(text) > 2:
        raise ValueError(f"{text!r} in {field!r} is no number")
    return int(text)

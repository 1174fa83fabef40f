"""Numbers as people read them: shares, counts, bytes, operations, seconds."""

from __future__ import annotations

import time


def percent(share: float) -> str:
    """A share, such as an accuracy, for people.

    >>> percent(0.97214)
    '97.21 %'
    """
    return f"{100 * share:.2f} %"


def plural(count: int, noun: str, many: str = "") -> str:
    """A count with its noun; `many` is its plural, if it is not the noun and an s.

    >>> plural(1, "rank"), plural(1200, "rank"), plural(2, "reply", "replies")
    ('1 rank', '1,200 ranks', '2 replies')
    """
    if count == 1:
        return f"1 {noun}"
    return f"{count:,} {many or noun + 's'}"


def average(number: float) -> str:
    """A mean of counts for people.

    >>> average(2), average(5.3333), average(1234.5)
    ('2', '5.33', '1,234')
    """
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def average_of(number: float, noun: str) -> str:
    """A mean of counts with its noun.

    >>> average_of(1, "client"), average_of(5.3333, "client")
    ('1 client', '5.33 clients')
    """
    return f"{average(number)} {noun}" if number == 1 else f"{average(number)} {noun}s"


def size(number: float) -> str:
    """Bytes for people.

    >>> size(999), size(2_457_808), size(3.2e9)
    ('999 B', '2.5 MB', '3.2 GB')
    """
    units = ["B", "kB", "MB", "GB", "TB"]
    unit = units.pop(0)
    while number >= 999.5 and units:
        number /= 1000
        unit = units.pop(0)
    if unit == "B" or number >= 99.5:
        return f"{number:.0f} {unit}"
    return f"{number:.1f} {unit}"


def operations(number: float) -> str:
    """Floating-point operations for people.

    >>> operations(3.83e6), operations(361e6), operations(2.6e14)
    ('3.83 MFLOP', '361 MFLOP', '260 TFLOP')
    """
    units = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"]
    unit = units.pop(0)
    while number >= 999.5 and units:
        number /= 1000
        unit = units.pop(0)
    return f"{number:.3g} {unit}"


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(4.2), duration(75), duration(3 * 3600 + 62)
    ('4 s', '1:15', '3:01:02')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    form = "%H:%M:%S" if seconds >= 3600 else "%M:%S"
    days = f"{int(seconds // 86400)} d " if seconds >= 86400 else ""
    return days + time.strftime(form, time.gmtime(seconds)).lstrip("0")


def short_time(seconds: float) -> str:
    """Seconds for people, in three digits, where these may be few.

    >>> short_time(0.00321), short_time(0.9996), short_time(75.2)
    ('3.21 ms', '1 s', '75.2 s')
    """
    if seconds < 0.9995:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s"

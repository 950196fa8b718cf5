"""Durations as people say them: 34 s, 5 min, 2 h 10 min, 3 days 4 h."""

UNITS = (  # the unit, its seconds, the unit of the rest, its seconds
    ("days", 86_400, "h", 3600),
    ("h", 3600, "min", 60),
    ("min", 60, "s", 1),
)


def format_duration(seconds: float) -> str:
    """ "2 h 10 min" from 7,800: two units at most, rounded to the smaller.

    Days are used from two days on; less than ten seconds has two significant digits.

    Args:
      seconds: finite, not negative.
    """
    for unit, size, small, part in UNITS:
        if round(seconds) >= (2 if unit == "days" else 1) * size:
            whole, rest = divmod(round(seconds / part), size // part)
            return f"{whole:,} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"

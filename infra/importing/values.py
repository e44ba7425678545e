"""Text of a file as a number or a time. Each function raises ValueError with the rule that the text breaks.

What counts as missing is decided before: nothing here takes an empty text for a value.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, tzinfo

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|[+-]\d\d:\d\d))?)?", re.ASCII)

MOST = 2_000_000_000
"""No whole number of the contract is larger; what is would not fit its field."""


def number(text: str, *, decimal_comma: bool = False) -> float:
    """`3,5` is a number only where the reader was told so: elsewhere it may be 35 or two columns."""
    rule = "a number as 3,5" if decimal_comma else "a number as 3.5"
    if decimal_comma and "." in text:
        raise ValueError(rule)
    plain = text.replace(",", ".", 1) if decimal_comma else text
    if not _NUMBER.fullmatch(plain):
        hint = " (--decimal-comma reads decimal commas)" if "," in text and not decimal_comma else ""
        raise ValueError(rule + hint)
    value = float(plain)
    if not math.isfinite(value):
        raise ValueError("a finite number")
    return value


def whole(text: str, *, least: int = -MOST, decimal_comma: bool = False) -> int:
    """`32.0` is whole: tables with gaps keep counts as floating-point numbers."""
    value = number(text, decimal_comma=decimal_comma)
    if not value.is_integer() or not least <= value <= MOST:
        raise ValueError("a whole number" + (f" of at least {least}" if least > -MOST else ""))
    return int(value)


def moment(text: str, time_zone: tzinfo) -> datetime:
    """Aware, in UTC. A date alone is its first moment; `time_zone` is of what names none."""
    rule = "a date or time as 2026-03-02, 2026-03-02 18:05 or 2026-03-02T18:05:00Z"
    if not _MOMENT.fullmatch(text):
        raise ValueError(rule)
    try:
        found = datetime.fromisoformat(text.replace(" Z", "Z").replace(" +", "+").replace(" -", "-"))
        zoned = found if found.tzinfo else found.replace(tzinfo=time_zone)
        return zoned.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(rule) from error

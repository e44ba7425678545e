"""What the benchmark knows of the gateway's settings: the one place to change when they change."""

from __future__ import annotations

GUARDS_OFF_ENVIRONMENT: dict[str, str] = {}
"""Environment of a gateway that checks nothing. While it is empty, its rows are left out."""

LIFT_LIMITS = (
    *("keys", "limit", "{tenant}"),
    *("--events-per-second", "1e9", "--bytes-per-second", "1e12", "--streams", "1000"),
)
"""Arguments of `circles` that let tenant `{tenant}` post as much as the gateway can."""

SET_LIMIT: tuple[str, ...] = ()
"""Arguments of `circles` that let tenant `{tenant}` post `{events}` events per second, and no more.
While it is empty, the part "one tenant at ten times its limit" is left out."""


def filled_in(arguments: tuple[str, ...], **values: object) -> tuple[str, ...]:
    return tuple(each.format(**values) for each in arguments)

"""What the benchmark knows of the gateway's settings: the one place to change when they change."""

from __future__ import annotations

LIFT_LIMITS = (
    *("keys", "limit", "{tenant}"),
    *("--events-per-second", "1e9", "--bytes-per-second", "1e12", "--streams", "1000"),
)
"""Arguments of `circles` that let tenant `{tenant}` post as much as the gateway can."""

SET_LIMIT = ("keys", "limit", "{tenant}", "--events-per-second", "{events}")
"""Arguments of `circles` that let tenant `{tenant}` post `{events}` events per second, and no more."""


def filled_in(arguments: tuple[str, ...], **values: object) -> tuple[str, ...]:
    return tuple(each.format(**values) for each in arguments)

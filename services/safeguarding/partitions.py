"""What a worker knows of a partition of the input that it has. Pure; the clock is the worker's."""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE_SECONDS = 30.0
"""A backlog, which may hold the answer, delays a breach by this long at most."""


@dataclass
class Partition:
    """A partition of the input. `now` is by the monotonic clock."""

    behind_since: float
    """Since when there is input that is not applied."""
    is_behind: bool = True
    applied_offset: int = -1
    first_offset: int = 0
    """The one to begin with, while nothing is applied."""
    applied_until_us: int = 0
    """When the gateway received the newest record that is applied."""
    ends: dict[int, int] | None = None
    """Of the cases' topic, when the partition became this worker's."""
    is_ours: bool = False
    """All that earlier workers wrote about its cases is known."""

    @property
    def next_offset(self) -> int:
        return self.applied_offset + 1 if self.applied_offset >= 0 else self.first_offset

    def see_end(self, highwater: int | None, now: float) -> None:
        """`highwater`: the end of the input, None while it is not known."""
        is_behind = highwater is None or self.next_offset < highwater
        if is_behind and not self.is_behind:
            self.behind_since = now
        self.is_behind = is_behind

    def as_of_us(self, now_us: int, now: float) -> int:
        """Up to when all events are known, or have to be taken for known."""
        if self.is_behind and now - self.behind_since < PATIENCE_SECONDS:
            return min(now_us, self.applied_until_us)
        return now_us

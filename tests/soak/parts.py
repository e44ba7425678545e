"""What a campaign of kills posts: one community, a part of it at each kill."""

from __future__ import annotations

from services.client import Event
from services.simulator.community import Community
from tests.soak.progress import Progress


class Parts:
    """The same events whenever the campaign goes on; which part is next, `progress` knows."""

    def __init__(self, progress: Progress, events_per_kill: int) -> None:
        self._progress, self._size = progress, events_per_kill
        self._events = list(Community(progress.seed, progress.goal * events_per_kill).events())

    def upcoming(self) -> list[Event]:
        """What belongs to the kill that comes."""
        first = self._progress.done * self._size
        return self._events[first : first + self._size]

    def posted(self) -> list[Event]:
        """All that belongs to the kills that were."""
        return self._events[: self._progress.done * self._size]

"""One piece of work at a time in a thread of its own, beside what its owner does meanwhile.

What the work may touch, and its owner must not touch before `finish`, is for the owner to know.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class Aside:
    """A context. Leaving it waits for the work, and raises what that raised unless something else was."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "aside")
        self._work: Future[None] | None = None

    def __enter__(self) -> Aside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        if error is None:
            self.finish()

    def start(self, work: Callable[[], None]) -> None:
        """The one before must be finished."""
        assert self._work is None  # noqa: S101
        self._work = self._pool.submit(work)

    def is_running(self) -> bool:
        return self._work is not None and not self._work.done()

    def finish(self) -> bool:
        """Waits for the work, if there is any, and raises what it raised. Returns whether there was any."""
        work, self._work = self._work, None
        if work is None:
            return False
        work.result()
        return True

"""The fence: who of several landings may commit. It is one row of the lake that every commit changes.

DuckLake lets two transactions append to one table side by side, so that two landings could put the same
records into the lake twice. It does not let two transactions change the same row: the second one fails as
a whole. The lock in PostgreSQL only spares two landings from getting in each other's way.
"""

from __future__ import annotations

import contextlib
import uuid

import duckdb

TRIES = 5
"""At taking over, which a commit of another landing at the same moment spoils."""


class Fenced(Exception):
    """Another landing has taken over this lake, or it is not known whether our own commit succeeded."""


class Fence:
    """One session's hold on the lake."""

    def __init__(self, lake: duckdb.DuckDBPyConnection) -> None:
        self.lake = lake
        self.session = uuid.uuid4().hex
        self.landed_seq = 0

    def take(self) -> None:
        """Takes the lake over from whoever had it: no commit of theirs succeeds any more.

        What is read from the lake afterwards is what our first commit rests on. Raises Fenced when others
        change the fence at the same moment, again and again.
        """
        for _ in range(TRIES):
            with contextlib.suppress(duckdb.TransactionException):
                self._take()
                return
        raise Fenced

    def _take(self) -> None:
        self.lake.begin()
        ((newest,),) = self.lake.execute(
            "SELECT coalesce(max(landed_seq), 0) FROM raw.landed_offsets"
        ).fetchall()
        self.lake.execute(
            "UPDATE raw.landing_fence SET session_id = ?, landed_seq = ?", [self.session, newest]
        )
        self.lake.commit()
        self.landed_seq = int(newest)

    def pass_through(self, landed_seq: int) -> None:
        """Part of each commit's transaction: it succeeds only if nobody came between. Raises Fenced."""
        ((count,),) = self.lake.execute(
            "UPDATE raw.landing_fence SET landed_seq = ? WHERE session_id = ? AND landed_seq = ?",
            [landed_seq, self.session, self.landed_seq],
        ).fetchall()
        if count != 1:
            raise Fenced

    def is_held(self) -> bool:
        """Whether the lake still stands where our last commit left it."""
        rows = self.lake.execute("SELECT session_id, landed_seq FROM raw.landing_fence").fetchall()
        return rows == [(self.session, self.landed_seq)]

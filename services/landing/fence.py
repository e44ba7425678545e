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
"""At taking over, which another landing that takes over at the same moment spoils."""

COMMITS = 10_000
"""After so many the fence is worn: the catalog keeps each earlier state of the row, and reads them all."""


class Fenced(Exception):
    """Another landing has taken over this lake, or it is not known whether our own commit succeeded."""


class Fence:
    """One session's hold on the lake."""

    def __init__(self, lake: duckdb.DuckDBPyConnection) -> None:
        self.lake = lake
        self.session = uuid.uuid4().hex
        self.count_commits = 0

    @property
    def is_worn(self) -> bool:
        return self.count_commits >= COMMITS

    def take(self) -> None:
        """Takes the lake over from whoever had it: no commit of theirs succeeds any more.

        What is read from the lake afterwards is what our first commit rests on. Raises Fenced when others
        take over at the same moment, again and again.
        """
        for _ in range(TRIES):
            with contextlib.suppress(duckdb.TransactionException):
                # A new table, so that the states of the old one's row are read no more.
                self.lake.execute(
                    "CREATE OR REPLACE TABLE raw.landing_fence AS "
                    "SELECT ? AS session_id, 0::BIGINT AS count_commits",
                    [self.session],
                )
                return
        raise Fenced

    def pass_through(self) -> None:
        """Part of each commit's transaction: it succeeds only if nobody came between. Raises Fenced."""
        ((count,),) = self.lake.execute(
            "UPDATE raw.landing_fence SET count_commits = count_commits + 1 "
            "WHERE session_id = ? AND count_commits = ?",
            [self.session, self.count_commits],
        ).fetchall()
        if count != 1:
            raise Fenced

    def passed(self) -> None:
        """The transaction has been committed."""
        self.count_commits += 1

    def is_held(self) -> bool:
        """Whether the lake still stands where our last commit left it."""
        rows = self.lake.execute("SELECT session_id, count_commits FROM raw.landing_fence").fetchall()
        return rows == [(self.session, self.count_commits)]

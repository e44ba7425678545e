"""What landing tells people when it cannot go on: an alarm has a name, says what happened and what to do.

An alarm is told once when it comes and once when it is over: in the log, in the heartbeat, and in
`raw.landing_alarms`. What waits, and for how long, is decided by `loader` and `gaps`.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import duckdb
import psycopg2

from services.landing.fence import Fenced
from services.landing.gaps import Cause, Gap, Plan
from services.landing.pause import Paused
from services.runtime.postgres import PostgresUnavailable

log = logging.getLogger(__name__)

ACCEPT = "`circles replay --accept-gap --dry-run` shows what; without --dry-run it records the gap"

_FULL = ("No space left on device", "File too large", "Disk quota exceeded")
_FROM_THE_LAKE = (duckdb.Error, psycopg2.Error, OSError)
"""OSError: of files, which landing writes itself. What goes wrong on a socket its client says otherwise."""
_POSTGRES = ("postgres", "server closed the connection", "terminating connection", "libpq")


class Alarm(NamedTuple):
    """`topic` is empty for what stops all of landing."""

    name: str
    topic: str
    what: str
    to_do: str

    def __str__(self) -> str:
        return f"{self.what} {self.to_do}"


ANOTHER_LANDING = Alarm(
    "another_landing",
    "",
    "Another landing writes to this lake; this one waits until the other has ended.",
    "Two are harmless. If the second one is not meant, stop it.",
)
PAUSED = Alarm(
    "paused",
    "",
    "Raw tables are landed again (`circles rebuild`): landing waits. Kafka keeps the records.",
    "Nothing: it goes on by itself within a minute or two.",
)
DISK_FULL = Alarm(
    "disk_full",
    "",
    "The disk of the lake, or of its catalog, is full: nothing can be landed. Kafka keeps the records.",
    "Free some space before the topics' retention is over. Landing goes on by itself.",
)
KAFKA_AWAY = Alarm(
    "kafka_away",
    "",
    "Kafka does not answer.",
    "`circles status` says whether it runs, `circles logs kafka` why not. Landing goes on by itself.",
)
POSTGRES_AWAY = Alarm(
    "postgres_away",
    "",
    "PostgreSQL, which holds the lake's catalog, does not answer.",
    "`circles status` says whether it runs, `circles logs postgres` why not. Landing goes on by itself.",
)


def alarm_of(error: Exception) -> Alarm:
    """What a session's end means to people."""
    if isinstance(error, Fenced):
        return ANOTHER_LANDING
    if isinstance(error, Paused):
        return PAUSED
    if isinstance(error, _FROM_THE_LAKE) and any(each in str(error) for each in _FULL):
        return DISK_FULL
    if isinstance(error, PostgresUnavailable | psycopg2.Error) or _is_of_the_catalog(error):
        return POSTGRES_AWAY
    if isinstance(error, _FROM_THE_LAKE):
        return _lake_refuses(type(error).__name__)
    return KAFKA_AWAY


def _is_of_the_catalog(error: Exception) -> bool:
    return isinstance(error, duckdb.Error) and any(each in str(error).lower() for each in _POSTGRES)


def _lake_refuses(kind: str) -> Alarm:
    # Not its words: they may quote a value.
    what = f"The lake refused a statement ({kind})."
    to_do = (
        "Landing tries again by itself. If this stays: can the lake's folder be read and written, and what "
        "does `circles logs postgres` say?"
    )
    return Alarm("lake_refuses", "", what, to_do)


def alarms_of(plan: Plan) -> Iterator[Alarm]:
    """One per topic and cause."""
    gaps: dict[tuple[str, Cause], list[Gap]] = defaultdict(list)
    for gap in plan.gaps:
        gaps[gap.topic, gap.cause].append(gap)
    for (topic, cause), of_topic in gaps.items():
        yield _of_gaps(topic, cause, of_topic)
    absent: dict[str, list[int]] = defaultdict(list)
    for topic, partition in plan.absent:
        absent[topic].append(partition)
    for topic, partitions in absent.items():
        yield Alarm(
            "topic_missing",
            topic,
            f"Topic {topic}, {_partitions(partitions)}: not there in Kafka. What is there is landed.",
            "Was it deleted? `circles provision` makes it anew, empty. Landing sees that by itself.",
        )


def _of_gaps(topic: str, cause: Cause, gaps: list[Gap]) -> Alarm:
    where = f"Topic {topic}, {_partitions(each.partition for each in gaps)}"
    go_on = f"{ACCEPT}, and landing goes on by itself."
    if cause is Cause.EXPIRED:
        count = sum(each.count_missing or 0 for each in gaps)
        what = f"{where}: Kafka has deleted {count:,} records before they were landed; they are lost here."
        return Alarm("records_expired", topic, what, go_on)
    if cause is Cause.CUT:
        what = f"{where}: the log ends before the last landed record; Kafka has lost records that it had."
        return Alarm("log_cut", topic, what, f"Find out why: `circles logs kafka`. {go_on}")
    what = f"{where}: the topic was deleted and made anew; records that had not landed by then are lost here."
    return Alarm("topic_recreated", topic, what, go_on)


def _partitions(numbers: Iterable[int]) -> str:
    listed = sorted(numbers)
    return f"partition{'s' if len(listed) > 1 else ''} {', '.join(map(str, listed))}"


class Alarms:
    """The alarms of this process that are not over."""

    def __init__(self) -> None:
        self._current: dict[tuple[str, str], Alarm] = {}
        self._untold: list[tuple[Alarm, bool, datetime]] = []
        self._knows_the_table = False

    def words(self) -> list[str]:
        return [str(each) for each in self._current.values()]

    def failed(self, alarm: Alarm) -> None:
        """Something stopped all of landing. What waits for a person keeps waiting."""
        self._become([*(each for each in self._current.values() if each.topic), alarm])

    def working(self, waiting: Iterable[Alarm]) -> None:
        """Landing works, but for what waits."""
        self._become(waiting)

    def record(self, lake: duckdb.DuckDBPyConnection) -> None:
        """Writes what came and went since the last time into `raw.landing_alarms`."""
        if not self._knows_the_table:
            self._end_those_of_an_earlier_process(lake)
        if self._untold:
            now = [[*alarm, is_raised, at] for alarm, is_raised, at in self._untold]
            lake.begin()
            lake.executemany(
                "INSERT INTO raw.landing_alarms (alarm, topic, what, to_do, is_raised, told_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                now,
            )
            lake.commit()
            self._untold.clear()

    def _become(self, alarms: Iterable[Alarm]) -> None:
        now = datetime.now(UTC)
        following = {(each.name, each.topic): each for each in alarms}
        for key, alarm in self._current.items():
            if key not in following:
                log.info("over: %s %s", *key)
                self._untold.append((alarm, False, now))
        for key, alarm in following.items():
            if key not in self._current:
                log.error("%s: %s", alarm.name, alarm)
                self._untold.append((alarm, True, now))
        self._current = following

    def _end_those_of_an_earlier_process(self, lake: duckdb.DuckDBPyConnection) -> None:
        rows = lake.execute(
            "SELECT alarm, topic, arg_max(what, told_at), arg_max(to_do, told_at) FROM raw.landing_alarms "
            "GROUP BY alarm, topic HAVING arg_max(is_raised, told_at)"
        ).fetchall()
        now = datetime.now(UTC)
        told = [Alarm(*row) for row in rows]
        raised = {(alarm.name, alarm.topic) for alarm, _, _ in self._untold}
        over = [each for each in told if (each.name, each.topic) not in {*self._current, *raised}]
        self._untold += [(each, False, now) for each in over]
        self._knows_the_table = True

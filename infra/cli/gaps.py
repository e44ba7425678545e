"""`circles replay --accept-gap`: shows what landing can get no more, and records that it goes on without it.

What a gap is, and where landing goes on, is landing's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import click
import duckdb
from kafka.errors import KafkaError

from infra.cli.sql import catalog_away
from infra.cli.tables import print_table
from infra.local.errors import StackError
from services.kafka.client import admin, consumer
from services.kafka.logs import logs
from services.kafka.positions import read_stands
from services.kafka.topics import landed_topics
from services.landing.gaps import Cause, Gap, accept, plan
from services.runtime.lake import open_lake
from services.runtime.settings import KafkaSettings

COLUMNS = ("topic", "partition", "why", "from offset", "goes on at", "records", "last landed")

WHY = {
    Cause.EXPIRED: "deleted by Kafka before it landed",
    Cause.CUT: "the log ends before what has landed",
    Cause.RECREATED: "the topic was made anew",
}


def run(topic: str | None, *, dry_run: bool) -> None:
    """Shows the gaps, of one topic or all, and records them unless `dry_run`. Raises StackError."""
    with _lake(read_only=dry_run) as lake:
        gaps = _gaps(lake, topic)
        if not gaps:
            click.echo("Nothing is missing: landing has, or can get, every record.")
            return
        print_table(COLUMNS, [_row(each) for each in gaps])
        click.echo(_sum(gaps))
        if dry_run:
            return
        accept(lake, gaps)
    click.echo(f"Recorded in raw.landing_gaps: {len(gaps)}. Landing goes on within some seconds.")


def _gaps(lake: duckdb.DuckDBPyConnection, topic: str | None) -> list[Gap]:
    topics = [each for each in landed_topics() if topic in (None, each.name)]
    if not topics:
        names = ", ".join(each.name for each in landed_topics())
        raise StackError(f"{topic} is not a topic that is landed.", f"Those are: {names}.")
    settings = KafkaSettings.load()
    try:
        with closing(admin(settings)) as client, closing(consumer(settings)) as reader:
            there = logs(client, reader, [each.name for each in topics])
    except KafkaError as error:
        raise StackError(
            f"Kafka does not say what it has: {type(error).__name__}.", "Is it up (`circles status`)?"
        ) from error
    return list(plan(topics, read_stands(lake), there).gaps)


def _row(gap: Gap) -> Sequence[Any]:
    since = None if gap.since is None else f"{gap.since:%Y-%m-%d %H:%M} UTC"
    return [
        gap.topic,
        gap.partition,
        WHY[gap.cause],
        gap.first_missing_offset,
        gap.next_offset,
        gap.count_missing,
        since,
    ]


def _sum(gaps: Sequence[Gap]) -> str:
    count = sum(each.count_missing or 0 for each in gaps)
    unknown = sum(each.count_missing is None for each in gaps)
    more = f" How many, nobody can know of some partitions: {unknown}." if unknown else ""
    return f"Records known to be gone: {count:,}.{more}"


@contextmanager
def _lake(*, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    try:
        lake = open_lake(read_only=read_only)
    except duckdb.Error as error:
        raise catalog_away(error) from error
    try:
        with closing(lake):
            yield lake
    except duckdb.Error as error:
        raise StackError(
            f"The lake's books of landing cannot be used: {str(error).splitlines()[0]}",
            "Landing makes them when it starts: `circles up`. Running this again changes nothing twice.",
        ) from error

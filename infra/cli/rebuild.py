"""`circles rebuild`: raw tables from Kafka, all that follows from raw tables, and a line for each part as it
goes. What is done is landing's and `pipelines.builds.rebuild`'s."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from infra.cli.progress import Progress
from infra.cli.sql import open_lake
from infra.cli.tables import print_table
from infra.local.errors import StackError
from services.runtime.settings import KafkaSettings, LakeSettings, PostgresSettings

if TYPE_CHECKING:
    from services.landing.again import Again, Source

Start = Literal["raw", "kafka"]

RECORDS_PER_SECOND = 500
"""For an estimate: envelopes that are read, decoded and written again on two processors."""

AGAIN = ("raw table", "records", "rows again", "rows kept", "left out", "new", "seconds")
STEPS = ("step", "count", "of", "seconds")
_AGAIN_LATER = "Run it again: what is done already is done again to the same end."


def run(start: Start, *, is_dry_run: bool) -> None:
    """Does it, or says what it would do. Raises StackError."""
    with _explained():
        if is_dry_run:
            _expect(start)
            return
        with Progress() as progress:
            landed = list(_land_again(progress)) if start == "kafka" else []
            steps = list(_rebuild(progress))
    if landed:
        print_table(AGAIN, landed)
    print_table(STEPS, steps)


def _expect(start: Start) -> None:
    from pipelines.builds.rebuild import expected

    rows: list[Sequence[Any]] = []
    if start == "kafka":
        from services.landing.again import expected as expected_of

        with _sources() as (found, _), closing(open_lake()) as lake:
            for each in found:
                again, kept = expected_of(lake, each)
                rows.append(
                    [f"raw.{each.raw_table} again", again, kept, each.count_records / RECORDS_PER_SECOND]
                )
    rows += [
        [each.name, each.count_rows, None, each.seconds]
        for each in expected(LakeSettings.load(), PostgresSettings.load())
    ]
    print_table(
        ("step", "rows", "rows kept", "seconds, roughly"), [[*each[:3], round(each[3])] for each in rows]
    )
    click.echo(f"Roughly {sum(each[3] for each in rows) / 60:.1f} minutes. Nothing was changed.")


def _land_again(progress: Progress) -> Iterator[Sequence[Any]]:
    from pipelines.builds.one import refuse_beside_another
    from services.landing.again import land_again

    lake, postgres = LakeSettings.load(), PostgresSettings.load()
    refuse_beside_another(postgres)
    with _sources() as (found, reader):
        for each in (one for one in found if one.parts):
            subject = f"raw.{each.raw_table}"
            progress.say(subject, "working")
            done = land_again(lake, postgres, reader, each, _telling(progress, subject, each.count_records))
            progress.say(subject, "done")
            yield _row(done)


def _telling(progress: Progress, subject: str, of: int) -> Callable[[int], None]:
    return lambda count: progress.say(subject, f"working {count:,}/{of:,} records")


def _row(done: Again) -> Sequence[Any]:
    counts = (done.count_records, done.count_again, done.count_kept, done.count_left_out, done.count_new)
    return [f"raw.{done.raw_table}", *counts, round(done.seconds, 1)]


@contextmanager
def _sources() -> Iterator[tuple[list[Source], Any]]:
    """What Kafka has of what has landed, and a consumer to read it."""
    from services.kafka.client import admin, consumer
    from services.kafka.topics import landed_topics
    from services.landing.again import sources

    kafka = KafkaSettings.load()
    with (
        closing(consumer(kafka, auto_offset_reset="none", enable_auto_commit=False)) as reader,
        closing(admin(kafka)) as client,
        closing(open_lake()) as lake,
    ):
        yield sources(lake, client, reader, landed_topics()), reader


def _rebuild(progress: Progress) -> Iterator[Sequence[Any]]:
    from pipelines.builds.rebuild import UNITS, rebuild
    from pipelines.defs.transformation.project import build_anew

    for step in rebuild(
        LakeSettings.load(),
        PostgresSettings.load(),
        build_anew,
        f"rebuild-{uuid.uuid4()}",
        on_progress=lambda name, count, of: progress.say(name, f"working {count}/{of}"),
        on_begin=lambda name: progress.say(name, "working"),
    ):
        progress.say(step.name, "done")
        yield [step.name, step.count, UNITS[step.name], round(step.seconds, 1)]


@contextmanager
def _explained() -> Iterator[None]:
    import duckdb
    from kafka.errors import KafkaError

    from pipelines.builds.one import BuildUnderWay
    from pipelines.builds.rebuild import CandidateFailed
    from pipelines.defs.transformation.project import BuildFailed
    from pipelines.publication.candidate import UnknownCandidate
    from pipelines.publication.release import StillRead
    from services.landing.again import RecordsGone
    from services.landing.fence import Fenced
    from services.landing.pause import CannotPause

    try:
        yield
    except BuildUnderWay as error:
        raise StackError(
            f"{error}. Nothing was changed.",
            "Wait for its end: Dagster's page shows runs of build_warehouse; or somebody else rebuilds.",
        ) from error
    except BuildFailed as error:
        raise StackError(
            f"dbt has not built everything: {error}.",
            "Readers see the last release. The log is in the data folder, dbt/logs; then run it again.",
        ) from error
    except CandidateFailed as error:
        raise StackError(
            f"{error}. Readers see the last release.",
            '`circles sql --operator "select * from quality.expectation_results where not success"`',
        ) from error
    except (CannotPause, Fenced) as error:
        raise StackError(
            f"Raw tables cannot be landed again now: {str(error) or 'another landing'}.", _AGAIN_LATER
        ) from error
    except (RecordsGone, UnknownCandidate, StillRead) as error:
        raise StackError(f"{error}.", _AGAIN_LATER) from error
    except KafkaError as error:
        raise StackError(f"Kafka does not go on: {type(error).__name__}.", _AGAIN_LATER) from error
    except duckdb.CatalogException as error:
        raise StackError(
            "Nothing has ever landed or been built here.", "`circles up` starts landing; post events first."
        ) from error
    except duckdb.Error as error:
        raise StackError(f"The lake refused: {str(error).splitlines()[0]}", _AGAIN_LATER) from error

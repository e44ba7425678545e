"""What `circles doctor` asks about a stack, and how it judges the answers. Nothing is changed here.

How the findings are shown is `doctor`'s. A question whose server is away is not asked: one that is down would
otherwise make a page of problems of one.
"""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import Any

from infra.cli import figures, status
from infra.local import processes as stack_processes
from infra.local.errors import StackError, check_ports
from infra.local.supervision import Supervisor
from services.kafka.topics import topics
from services.runtime.settings import (
    HealthSettings,
    KafkaSettings,
    PostgresSettings,
    ReaderSettings,
    StackSettings,
    home,
)

OK, WARNING, PROBLEM = "ok", "warning", "problem"

NOT_ASKED = "cannot be asked"
NOT_THERE = "there is no"

ROOMY = 4
"""Times the least free space: below it a disk is watched."""
PENDING_HOURS = 2
SNAPSHOTS = 150_000
"""Of two days in which landing commits every two seconds, and as many again."""
CLOCK_SECONDS = 5.0
PINNED = ("duckdb", "duckdb-extension-ducklake", "duckdb-extension-postgres-scanner")


@dataclass(frozen=True)
class Finding:
    """What was found, and, unless it is well, what it means and what to do."""

    state: str
    found: str
    means: str = ""
    do: str = ""


@dataclass(frozen=True)
class Question:
    """`needs` is the server without which it cannot be asked."""

    name: str
    ask: Callable[[], Finding]
    needs: str = ""


def well(found: str) -> Finding:
    return Finding(OK, found)


def disk() -> Finding:
    folder = next(each for each in (home(), *home().parents) if each.exists())
    return judged_disk(shutil.disk_usage(folder).free // 2**20, StackSettings.load().min_free_mib)


def judged_disk(free_mib: int, min_free_mib: int) -> Finding:
    found = f"{free_mib:,} MiB free, at least {min_free_mib:,} needed"
    if free_mib >= ROOMY * min_free_mib:
        return well(found)
    means = "Kafka and PostgreSQL stop badly on a full disk, and `circles up` refuses to start on one."
    return Finding(
        PROBLEM if free_mib < min_free_mib else WARNING,
        found,
        means,
        "Free some space, or move the data folder (CIRCLES_HOME).",
    )


def versions() -> Finding:
    found = {name: metadata.version(name) for name in PINNED}
    python = ".".join(map(str, sys.version_info[:3]))
    words = f"circles {metadata.version('circles')}, Python {python}, DuckDB {found['duckdb']}"
    if len(set(found.values())) == 1:
        return well(words)
    return Finding(
        PROBLEM,
        f"{words}, its extensions {', '.join(sorted(set(found.values())))}",
        "DuckDB loads extensions of its own version only: the lake cannot be opened.",
        "`make setup`",
    )


def private_files() -> Finding:
    folder = home()
    if not folder.exists():
        return Finding(
            WARNING, f"there is no data folder {folder}", "Nothing was ever started here.", "`circles up`"
        )
    names = ("stack.env", "run/supervisord.conf", "kafka/server.properties", "dagster")
    paths = [folder, *(folder / name for name in names), *(folder / "secrets").glob("*")]
    return judged_modes({str(each): each.stat().st_mode for each in paths if each.exists()})


def judged_modes(modes: Mapping[str, int]) -> Finding:
    """`modes` of files and folders that are for their owner alone."""
    open_ones = [path for path, mode in modes.items() if stat.S_IMODE(mode) & 0o077]
    if not open_ones:
        return well(f"{len(modes)} files and folders are their owner's alone")
    return Finding(
        PROBLEM,
        f"open to others: {', '.join(open_ones)}",
        "Whoever reads them can read everything in the stack.",
        "`chmod go= FILE`; if others were on this machine, make new passwords and keys.",
    )


def running() -> Finding:
    lines = status.processes()
    states = {line.process: line.state for line in lines}
    return judged_processes(states, len(Supervisor(home()).orphans()))


def judged_processes(states: Mapping[str, str], left_over: int) -> Finding:
    """`states` by process, in the words of `circles status`."""
    if left_over:
        return Finding(
            PROBLEM,
            f"{left_over} processes outlived their supervisor",
            "They hold ports and files, and nobody starts them again.",
            "`circles up` ends them and starts anew; `circles down` only ends them.",
        )
    idle = [name for name, state in states.items() if state in ("stopped", "not started")]
    ill = [f"{name} ({state})" for name, state in states.items() if state not in status.HEALTHY]
    if ill:
        return Finding(
            PROBLEM,
            ", ".join(ill),
            "`starting` and `waiting` pass by themselves; `silent` is a process without a heartbeat; the "
            "others end as soon as they are started.",
            "`circles logs NAME` says why.",
        )
    if len(idle) == len(states):
        return Finding(PROBLEM, "nothing runs", "No event is taken, and nothing is computed.", "`circles up`")
    if idle:
        return Finding(
            WARNING, f"not started: {', '.join(idle)}", "Left out by --without, or stopped.", "`circles up`"
        )
    return well(f"all {len(states)} processes run")


def ports() -> Finding:
    idle = {line.process for line in status.processes() if line.pid is None}
    wanted = stack_processes.ports_of(idle)
    try:
        check_ports(wanted)
    except StackError as taken:
        return Finding(PROBLEM, taken.what, "What should listen there cannot start.", taken.next_step)
    return well(f"{len(wanted)} ports are free for what does not run" if wanted else "all are ours")


def kafka() -> Finding:
    from services.kafka.client import KafkaUnavailable, admin
    from services.kafka.positions import connect

    settings = KafkaSettings.load()
    try:
        connect(settings.bootstrap.split(",")[0])
        with closing(admin(settings, bootstrap_timeout_ms=3000)) as client:
            partitions = {each["name"]: len(each["partitions"]) for each in client.describe_topics()}
            return judged_topics(partitions, _differences(client, partitions))
    except (OSError, KafkaUnavailable):
        return Finding(
            PROBLEM,
            f"no answer at {settings.bootstrap}",
            "Partners' calls end with UNAVAILABLE; what was acknowledged is safe.",
            "`circles up` starts it; `circles logs kafka` says why it ended. Or the password is wrong.",
        )


def _differences(client: Any, present: Iterable[str]) -> dict[str, dict[str, str]]:
    """By topic, settings that Kafka has otherwise than the registry."""
    from kafka.admin import ConfigResource, ConfigResourceType

    from infra.provisioning.topics import differences

    ours = [name for name in present if name in topics()]
    if not ours:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in ours]
    found = client.describe_configs(resources, config_filter="all")["topic"]
    return {name: wrong for name in ours if (wrong := differences(topics()[name], found[name]))}


def judged_topics(partitions: Mapping[str, int], wrong: Mapping[str, Mapping[str, str]]) -> Finding:
    """`partitions` of the topics that there are; `wrong` are settings that differ."""
    repair = "`circles provision` makes what is missing and corrects settings."
    missing = [name for name in topics() if name not in partitions]
    if missing:
        means = "What is posted to them is refused, and what reads them waits."
        return Finding(PROBLEM, f"missing topics: {', '.join(missing)}", means, repair)
    other = [name for name, each in topics().items() if partitions[name] != each.partitions]
    if other:
        means = "Events are found by their partition: figures of a group would be split."
        do = "It cannot be changed in place: see `circles provision`."
        return Finding(PROBLEM, f"other numbers of partitions: {', '.join(other)}", means, do)
    if wrong:
        words = ", ".join(f"{topic} ({', '.join(settings)})" for topic, settings in wrong.items())
        return Finding(WARNING, f"other settings: {words}", "Retention or sizes are not as meant.", repair)
    return well(f"{len(topics())} topics are as the registry says")


def postgres() -> Finding:
    from infra.provisioning.databases import databases
    from services.runtime.postgres import PostgresUnavailable, connect

    settings, readers = PostgresSettings.load(), ReaderSettings.load()
    try:
        with closing(connect(settings, settings.database_published)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles")
            there = {name for (name,) in cursor.fetchall()}
    except PostgresUnavailable as away:
        return Finding(
            PROBLEM,
            str(away),
            "No key is known to a gateway that starts, nothing lands, nothing is built.",
            "`circles up` starts it; `circles logs postgres` says why it ended.",
        )
    return judged_provisioning({*databases(settings), readers.operator_user, readers.analyst_user} - there)


def judged_provisioning(missing: Iterable[str]) -> Finding:
    names = sorted(missing)
    if not names:
        return well("four databases and the roles of readers are there")
    means = "What needs them cannot start, or cannot be read."
    return Finding(PROBLEM, f"missing: {', '.join(names)}", means, "`circles provision`")


def clock() -> Finding:
    (moment,) = _published("SELECT now()")[0]
    return judged_clock((datetime.now(UTC) - moment).total_seconds())


def judged_clock(seconds: float) -> Finding:
    found = f"{abs(seconds):.1f} s beside PostgreSQL's"
    if abs(seconds) <= CLOCK_SECONDS:
        return well(found)
    means = "Safeguarding's deadlines and keys' validity are told by the wrong time."
    return Finding(PROBLEM, found, means, "Let NTP set the clocks of all machines.")


def lake() -> Finding:
    if not _has_lake():
        return Finding(
            WARNING, f"{NOT_THERE} lake yet", "Landing makes it when it first starts.", "`circles up`"
        )
    with closing(_lake()) as connection:
        if not _has(connection, "raw", "landed_offsets"):
            return Finding(
                WARNING, "nothing has ever landed", "Landing makes the tables.", "`circles status`"
            )
        (newest,) = connection.execute("SELECT max(landed_at) FROM raw.landed_offsets").fetchall()[0]
    return well(
        "readable; nothing landed yet" if newest is None else f"readable; newest landing {_ago(newest)}"
    )


def _has_lake() -> bool:
    """Whether the lake's catalog has been made."""
    found = _rows(PostgresSettings.load().database_lake, "SELECT to_regclass('ducklake_metadata')")
    return found[0][0] is not None


def lags() -> Finding:
    lines = figures.gather()["topics"]
    return judged_lags({f"{line['consumer']} of {line['topic']}": line["lag"] for line in lines})


def judged_lags(by_consumer: Mapping[str, int]) -> Finding:
    limit = HealthSettings.load().max_landing_lag
    behind = [f"{name}: {lag:,}" for name, lag in by_consumer.items() if lag > limit]
    if not behind:
        return well(f"none above {limit:,} records; the longest is {max(by_consumer.values(), default=0):,}")
    means = "Figures are old, and rows are missing from the lake. After a standstill it passes by itself."
    return Finding(WARNING, ", ".join(behind), means, "Watch `circles status`; `circles logs NAME`.")


def slices() -> Finding:
    from pipelines.quality.admission import blocked_slices, has_ledger

    with closing(_lake()) as connection:
        blocked = blocked_slices(connection) if has_ledger(connection) else []
    if not blocked:
        return well("none is blocked")
    rows, tenants = sum(each.count_rows for each in blocked), {each.tenant_id for each in blocked}
    return Finding(
        WARNING,
        f"{len(blocked)} blocked, {rows:,} rows of {len(tenants)} tenants",
        "These rows wait for you; nothing else does.",
        "`circles slices`, then release or reject each.",
    )


def verdicts() -> Finding:
    with closing(_lake()) as connection:
        has_landed = _has(connection, "raw", "landed_offsets")
        return judged_pending(_oldest_pending(connection) if has_landed else None)


def _oldest_pending(connection: Any) -> datetime | None:
    """When the oldest of the newest landings without a verdict came. None: nothing waits."""
    from pipelines.quality.admission import has_ledger, pending_slices
    from pipelines.quality.suites import RAW_SUITES

    if not has_ledger(connection):
        first = 0
    else:
        present = [table for table in RAW_SUITES if _has(connection, "raw", table)]
        waiting = [each.first_landed_seq for table in present for each in pending_slices(connection, table)]
        if not waiting:
            return None
        first = min(waiting)
    (moment,) = connection.execute(
        "SELECT min(landed_at) FROM raw.landed_offsets WHERE landed_seq >= ?", [first]
    ).fetchall()[0]
    return moment  # type: ignore[no-any-return]


def judged_pending(oldest: datetime | None) -> Finding:
    if oldest is None:
        return well("everything that has landed has its verdict")
    found = f"rows that landed {_ago(oldest)} have none"
    if datetime.now(UTC) - oldest < timedelta(hours=PENDING_HOURS):
        return well(f"{found} yet")
    return Finding(
        WARNING,
        found,
        "No build has judged them, or the check itself broke: they are in no evidence.",
        "Dagster, *Jobs → build_warehouse*; does dagster-daemon run?",
    )


def runs() -> Finding:
    rows = _dagster(
        "SELECT pipeline_name, status, count(*), min(create_timestamp) FROM runs "
        "WHERE status IN ('QUEUED', 'STARTED') OR "
        "(status = 'FAILURE' AND create_timestamp > (now() AT TIME ZONE 'UTC') - interval '1 day') "
        "GROUP BY pipeline_name, status"
    )
    return judged_runs(rows)


def judged_runs(rows: Sequence[tuple[str, str, int, datetime]] | None) -> Finding:
    """`rows` are job, status, how many, and when the oldest was asked for. None: Dagster has never run."""
    if rows is None:
        return well("Dagster has never run")
    failed = [f"{job}: {count} failed" for job, state, count, _ in rows if state == "FAILURE"]
    now = datetime.now(UTC)
    stuck = [
        f"{job}: {state.lower()} since {_ago(since)}"
        for job, state, _, since in rows
        if state != "FAILURE" and now - _utc(since) > timedelta(hours=PENDING_HOURS)
    ]
    if not failed and not stuck:
        return well("no run failed in 24 hours, none waits long")
    return Finding(
        WARNING,
        "; ".join([*failed, *stuck]),
        "What a failed run left undone is done by the next one that succeeds.",
        "Dagster, *Runs*, has the error; `circles logs dagster-daemon` says why none is started.",
    )


def snapshots() -> Finding:
    with closing(_lake()) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM ducklake_snapshots('lake')").fetchall()
    return judged_snapshots(int(count))


def judged_snapshots(count: int) -> Finding:
    if count <= SNAPSHOTS:
        return well(f"{count:,} snapshots of the lake")
    means = "Each landing makes one; reading gets slower and the catalog larger."
    return Finding(
        WARNING,
        f"{count:,} snapshots of the lake",
        means,
        "Does `maintain_lake` succeed? See Dagster, or try `circles maintain`.",
    )


QUESTIONS = (
    Question("disk", disk),
    Question("versions", versions),
    Question("private files", private_files),
    Question("processes", running),
    Question("ports", ports),
    Question("Kafka", kafka),
    Question("PostgreSQL", postgres),
    Question("clock", clock, "PostgreSQL"),
    Question("lake", lake, "PostgreSQL"),
    Question("lags", lags, "Kafka"),
    Question("verdicts", verdicts, "lake"),
    Question("slices", slices, "lake"),
    Question("runs", runs, "PostgreSQL"),
    Question("snapshots", snapshots, "lake"),
)


def ask_all(questions: Sequence[Question] = QUESTIONS) -> dict[str, Finding]:
    """A finding for each question, whatever is down."""
    found: dict[str, Finding] = {}
    for each in questions:
        found[each.name] = _asked(each, found)
    return found


def _asked(question: Question, before: Mapping[str, Finding]) -> Finding:
    needed = before.get(question.needs)
    if needed is not None and (needed.state == PROBLEM or needed.found.startswith((NOT_ASKED, NOT_THERE))):
        return Finding(WARNING, f"{NOT_ASKED} without {question.needs}", do=f"See {question.needs} first.")
    try:
        return question.ask()
    except Exception as error:  # the page must show the rest
        words = str(error).strip().splitlines()
        found = f"cannot be answered: {type(error).__name__}: {words[0][:200] if words else ''}"
        return Finding(PROBLEM, found, "Something is wrong that this page does not know.", "`circles status`")


def _published(statement: str) -> list[tuple[Any, ...]]:
    settings = PostgresSettings.load()
    return _rows(settings.database_published, statement)


def _dagster(statement: str) -> list[tuple[Any, ...]] | None:
    import psycopg2

    try:
        return _rows(PostgresSettings.load().database_dagster, statement)
    except psycopg2.errors.UndefinedTable:
        return None


def _rows(database: str, statement: str) -> list[tuple[Any, ...]]:
    from services.runtime.postgres import connect

    with closing(connect(PostgresSettings.load(), database)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _lake() -> Any:
    from services.runtime.lake import open_lake

    return open_lake(read_only=True)


def _has(connection: Any, schema: str, table: str) -> bool:
    found = connection.execute(
        "SELECT 1 FROM information_schema.tables "
        "WHERE table_catalog = 'lake' AND table_schema = ? AND table_name = ?",
        [schema, table],
    ).fetchall()
    return bool(found)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _ago(moment: datetime) -> str:
    minutes = int((datetime.now(UTC) - _utc(moment)).total_seconds() // 60)
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} h ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"

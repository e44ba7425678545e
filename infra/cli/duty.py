"""What `circles safeguarding` shows: open cases, what could not be delivered, and whether the path lives.

What a case is, is decided in `services.safeguarding`; the command itself is `safeguarding`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import click

from services.runtime import heartbeat
from services.runtime.settings import KafkaSettings, PostgresSettings, SafeguardingSettings

ALERTS = "safeguarding-alerts"
SERVICE = "safeguarding"
MISSED_HEARTBEATS = 3
"""So many later than one is due the path counts as dead."""

COLUMNS = (
    "tenant_id", "case_ref", "state", "risk_kind", "opened_at", "due_at", "breached_at", "alert_level",
    "alerted_at", "delivered_at", "count_undelivered", "escalated_at", "escalation_contact", "closed_at",
    "answer", "erasable_after",
)  # fmt: skip
_SHOWN = 12
"""How many of the columns a person sees of open cases; `--all` and `--json` show all."""


def summary() -> dict[str, Any]:
    """What the service itself says, for `circles status`. None: it has said nothing."""
    beat = heartbeat.read(SERVICE)
    figures = beat.figures if beat is not None else {}
    at = figures.get("heartbeat_at")
    return {
        "open_cases": figures.get("open_cases"),
        "breached_cases": figures.get("breached_cases"),
        "undelivered_alerts": figures.get("undelivered_alerts"),
        "rows_waiting": figures.get("rows_waiting"),
        "heartbeat_age_seconds": round(time.time() - at) if at else None,
        "contact": SafeguardingSettings.load().contact or None,
    }


def is_late(age_seconds: float | None) -> bool:
    """Whether a heartbeat is missing."""
    return (
        age_seconds is None or age_seconds > MISSED_HEARTBEATS * SafeguardingSettings.load().heartbeat_seconds
    )


def show(*, with_closed: bool, as_json: bool) -> int:
    cases, heartbeats = _cases(with_closed), _heartbeats()
    if as_json:
        page = {**summary(), "cases": cases, "heartbeats": heartbeats}
        json.dump(page, sys.stdout, indent=2, default=str)
        sys.stdout.write("\n")
    else:
        _print(cases, heartbeats, COLUMNS if with_closed else COLUMNS[:_SHOWN])
    return 1 if any(is_late(each["age_seconds"]) for each in heartbeats) else 0


def _print(
    cases: list[dict[str, Any]] | None, heartbeats: list[dict[str, Any]], columns: Sequence[str]
) -> None:
    from infra.cli.tables import print_table

    if cases is None:
        click.echo(f"PostgreSQL cannot be asked for cases; their alerts are on topic {ALERTS} all the same.")
    elif cases:
        print_table(columns, [[_cell(each[name]) for name in columns] for each in cases])
    else:
        click.echo("No case is open.")
    late = [each["partition"] for each in heartbeats if is_late(each["age_seconds"])]
    ages = [each["age_seconds"] for each in heartbeats if each["age_seconds"] is not None]
    if late:
        numbers = ", ".join(map(str, late))
        click.secho(f"No heartbeat of partitions {numbers}: their cases are not looked after.", fg="red")
        click.echo("`circles status` and `circles logs safeguarding` tell why.")
    else:
        click.echo(f"The path lives: the oldest heartbeat is {max(ages)} s old.")


def _cell(value: Any) -> Any:
    return value.isoformat(sep=" ", timespec="seconds") if hasattr(value, "isoformat") else value


def _cases(with_closed: bool) -> list[dict[str, Any]] | None:
    """The most urgent first. None: PostgreSQL cannot be asked."""
    from services.runtime.postgres import PostgresUnavailable, connect

    settings = PostgresSettings.load()
    which = "" if with_closed else "WHERE state = 'open'"
    try:
        with closing(connect(settings, settings.database_published)) as connection:
            cursor = connection.cursor()
            # Nothing of it comes from outside.
            cursor.execute(
                f"SELECT {', '.join(COLUMNS)} FROM live.safeguarding {which} "  # noqa: S608
                "ORDER BY state <> 'open', due_at"
            )
            return [dict(zip(COLUMNS, row, strict=True)) for row in cursor.fetchall()]
    except PostgresUnavailable:
        return None


def _heartbeats() -> list[dict[str, Any]]:
    """The age of each partition's newest heartbeat. Raises KafkaUnavailable."""
    from services.kafka.topics import topic

    newest = _newest_heartbeats()
    now = time.time()
    return [
        {"partition": number, "age_seconds": round(now - newest[number]) if number in newest else None}
        for number in range(topic(ALERTS).partitions)
    ]


def _newest_heartbeats() -> dict[int, float]:
    from circles.safeguarding.v1 import safeguarding_alert_pb2 as contract
    from kafka import TopicPartition

    from services.kafka.client import consumer
    from services.kafka.topics import topic

    places = [TopicPartition(ALERTS, number) for number in range(topic(ALERTS).partitions)]
    found: dict[int, float] = {}
    with closing(
        consumer(KafkaSettings.load(), auto_offset_reset="earliest", enable_auto_commit=False)
    ) as reader:
        reader.assign(places)
        ends = reader.end_offsets(places)
        reader.seek_to_beginning(*places)
        while any(reader.position(place) < ends[place] for place in places):
            for records in reader.poll(timeout_ms=500).values():
                for record in records:
                    alert = contract.SafeguardingAlert.FromString(record.value or b"")
                    if alert.level == contract.ALERT_LEVEL_HEARTBEAT:
                        found[alert.kafka_partition] = alert.issued_at.ToNanoseconds() / 1e9
    return found

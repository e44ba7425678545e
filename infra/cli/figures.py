"""The figures of `circles status`: messages per topic, lag per consumer, rows per table.

A server that is away gives no figures; nothing here raises.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

from services.runtime.settings import KafkaSettings, PostgresSettings


def gather() -> dict[str, list[dict[str, Any]]]:
    """Figures under `topics` and `counts`; both empty when no server answers."""
    lake = _or_empty(_lake) or {"stands": {}, "counts": []}
    return {
        "topics": _or_empty(lambda: _topics(lake["stands"])) or [],
        "counts": [*lake["counts"], *(_or_empty(_published_counts) or [])],
    }


def _topics(stands: Any) -> list[dict[str, Any]]:
    from services.kafka.positions import read_ends, readings

    return [each._asdict() for each in readings(read_ends(KafkaSettings.load()), stands)]


def _lake() -> dict[str, Any]:
    from services.kafka.positions import read_stands
    from services.landing.raw_tables import OWN_TABLES
    from services.runtime.lake import open_lake

    with closing(open_lake(read_only=True)) as lake:
        tables = lake.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_catalog = 'lake' AND table_schema = 'raw' ORDER BY 1"
        ).fetchall()
        names = {name for (name,) in tables}
        counts = [
            {"table": f"raw.{name}", "rows": _count(lake, name)} for name in sorted(names - OWN_TABLES.keys())
        ]
        return {"stands": read_stands(lake) if OWN_TABLES.keys() <= names else {}, "counts": counts}


def _count(lake: Any, table: str) -> int:
    # The name comes from the catalog, so that quoting it is enough.
    ((count,),) = lake.execute(f'SELECT count(*) FROM raw."{table}"').fetchall()  # noqa: S608
    return int(count)


def _published_counts() -> list[dict[str, Any]]:
    import psycopg2
    from psycopg2 import sql

    settings = PostgresSettings.load()
    with (
        closing(psycopg2.connect(settings.dsn(settings.database_published))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "SELECT table_schema, table_name FROM information_schema.tables "
            "WHERE table_schema IN ('live', 'evidence') ORDER BY 1, 2"
        )
        counts = []
        for schema, table in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table)))
            ((count,),) = cursor.fetchall()
            counts.append({"table": f"{schema}.{table}", "rows": count})
        return counts


def _or_empty(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except Exception:  # whatever it is, `status` must still show the rest
        return None

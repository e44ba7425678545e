"""Cases to `live.safeguarding`, by a thread of its own: PostgreSQL away delays its rows and nothing else.

A row says all that is known of a case, so that only the newest has to be written, and a later one never
gives way to an earlier one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from typing import NamedTuple

from psycopg2.extras import execute_values

from services.runtime.postgres import Connection, connect
from services.runtime.settings import PostgresSettings
from services.safeguarding.cases import Alert, Case, Issued, Level, Told
from services.safeguarding.messages import (
    answer_word,
    data_class_word,
    moment,
    moment_or_none,
    risk_kind_word,
)

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0


class Row(NamedTuple):
    """A row of `live.safeguarding`; the columns are explained there."""

    tenant_id: str
    case_ref: str
    data_class: str
    group_id: str
    risk_kind: str
    state: str
    raised_at: datetime
    opened_at: datetime
    due_at: datetime
    breached_at: datetime | None
    answer: str | None
    answered_at: datetime | None
    closed_at: datetime | None
    alert_level: str | None
    alerted_at: datetime | None
    delivered_at: datetime | None
    count_undelivered: int
    escalated_at: datetime | None
    escalation_contact: str | None
    erasable_after: datetime | None
    kafka_partition: int
    topic_id: str = ""
    revision: int = 0


_KEY = ("tenant_id", "case_ref")
# Column names only: all of them are written above.
_UPSERT = f"""
INSERT INTO live.safeguarding AS known ({", ".join(Row._fields)}) VALUES %s
ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET
  {", ".join(f"{each} = excluded.{each}" for each in Row._fields if each not in _KEY)}, updated_at = now()
WHERE known.topic_id <> excluded.topic_id OR known.revision <= excluded.revision
"""  # noqa: S608


def row_of(case: Case, alerts: Sequence[Alert], told: Told, contact: str, legal_period_days: int) -> Row:
    """What is known of a case whose issued alerts `alerts` hold, the newest last."""
    newest = told.issued[alerts[-1].alert_id]
    is_breached = case.is_breached(0) or any(each.level is Level.BREACHED for each in alerts)
    escalated = [told.issued[each.alert_id].issued_at_us for each in alerts if each.level is Level.ESCALATED]
    return Row(
        tenant_id=case.key.tenant_id,
        case_ref=case.key.case_ref,
        data_class=data_class_word(case.data_class),
        group_id=case.group_id,
        risk_kind=risk_kind_word(case.risk_kind),
        state=case.state,
        raised_at=moment(case.raised_at_us),
        opened_at=moment(case.opened_at_us),
        due_at=moment(case.due_at_us),
        breached_at=moment(case.due_at_us) if is_breached else None,
        answer=answer_word(case.answer),
        answered_at=moment_or_none(case.answered_at_us),
        closed_at=moment_or_none(case.closed_at_us),
        alert_level=newest.level,
        alerted_at=moment(newest.issued_at_us),
        delivered_at=moment_or_none(_delivered_at_us(newest, told)),
        count_undelivered=sum(len(told.missing_targets(each.alert_id)) for each in alerts),
        escalated_at=moment_or_none(min(escalated, default=None)),
        escalation_contact=contact or None if escalated else None,
        erasable_after=moment_or_none(case.erasable_after_us(legal_period_days)),
        kafka_partition=case.home_partition,
    )


def _delivered_at_us(issued: Issued, told: Told) -> int | None:
    """When the last of all targets of an alert had it; None: one has not, or there is none."""
    times = [told.delivered.get((issued.alert_id, target)) for target in issued.targets]
    known = [each for each in times if each is not None]
    return max(known) if known and len(known) == len(times) else None


class Rows(threading.Thread):
    """Writes what it is offered, as soon as PostgreSQL takes it."""

    def __init__(self, postgres: PostgresSettings) -> None:
        super().__init__(name="rows", daemon=True)
        self.postgres = postgres
        self._waiting: dict[tuple[str, str], Row] = {}
        self._writing: dict[tuple[str, str], Row] = {}
        self._lock = threading.Lock()
        self._news = threading.Event()

    def offer(self, row: Row) -> None:
        """Never waits."""
        with self._lock:
            self._waiting[row.tenant_id, row.case_ref] = row
        self._news.set()

    @property
    def count_waiting(self) -> int:
        return len(self._waiting) + len(self._writing)

    def run(self) -> None:
        while True:
            try:
                self._session()
            except Exception as error:  # whatever it is, the rows must be written
                log.warning(
                    "%d rows wait for PostgreSQL: %s; next try in %.0f s",
                    self.count_waiting, type(error).__name__, RETRY_SECONDS,
                )  # fmt: skip
                time.sleep(RETRY_SECONDS)

    def _session(self) -> None:
        with closing(connect(self.postgres, self.postgres.database_published)) as connection:
            while True:
                self._news.wait()
                self._news.clear()
                self._write(connection)

    def _write(self, connection: Connection) -> None:
        with self._lock:
            self._writing, self._waiting = self._waiting, {}
        try:
            with connection.cursor() as cursor:
                execute_values(cursor, _UPSERT, list(self._writing.values()), page_size=1000)
        except Exception:
            with self._lock:
                self._waiting = self._writing | self._waiting
            self._news.set()
            raise
        finally:
            self._writing = {}

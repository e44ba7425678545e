"""Checks on topics and raw tables, which services fill outside Dagster: lag, failed events, clocks.

What is computed stands in `pipelines.quality.health`. A check that breaks has failed.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import dagster as dg
import duckdb

from pipelines.defs.landing.assets import raw_key
from pipelines.defs.resources import Database, Lake
from pipelines.defs.streaming.assets import topic_key
from pipelines.quality import health
from pipelines.quality.expectations import RuleResult
from pipelines.quality.results import Checked, crashed, record
from pipelines.quality.rules import WARN
from services.kafka.client import KafkaUnavailable, end_offsets
from services.kafka.topics import landed_topics
from services.runtime.settings import HealthSettings, KafkaSettings

log = logging.getLogger(__name__)

LANDING = "landing_keeps_up"
FAILED = "few_events_fail"
CLOCKS = "live_clocks_are_not_ahead"
HOURS = 24

CHECKS = {
    **{topic_key(topic.name): LANDING for topic in landed_topics()},
    raw_key("failed_events"): FAILED,
    **{raw_key(table): CLOCKS for table in health.EVENT_TABLES},
}
"""The check of each asset."""

MEANINGS = {
    LANDING: "Not too many records wait to be landed.",
    FAILED: f"Few of a tenant's events of the last {HOURS} hours failed.",
    CLOCKS: f"Few of a live tenant's events of the last {HOURS} hours occurred after they arrived.",
}


@dataclass(frozen=True)
class Answer:
    """What one check found: a result for each tenant, or, under None, one for all."""

    results: Mapping[str | None, RuleResult]
    metadata: Mapping[str, Any]
    has_crashed: bool = False


@dg.multi_asset_check(
    name="health",
    specs=[dg.AssetCheckSpec(name, asset=key, description=MEANINGS[name]) for key, name in CHECKS.items()],
)
def checks(
    context: dg.AssetCheckExecutionContext, lake: Lake, database: Database
) -> Iterator[dg.AssetCheckResult]:
    since = datetime.now(UTC) - timedelta(hours=HOURS)
    ends = _ends()
    with lake.open(read_only=True) as connection:
        answers = {
            key: _answered(name, partial(_ASK[name], connection, key.path[-1], since, ends))
            for key, name in CHECKS.items()
        }
    record(
        database.settings,
        context.run.run_id,
        [row for key, answer in answers.items() for row in _rows(key, answer)],
    )
    for key, answer in answers.items():
        yield _check_result(key, answer)


Ends = Mapping[tuple[str, int], int]


def _ends() -> Ends | None:
    """Where the topics end; None when Kafka does not say, which makes the checks of lag fail."""
    try:
        return end_offsets(KafkaSettings.load(), landed_topics(), bootstrap_timeout_ms=5000)
    except KafkaUnavailable:
        return None


def _answered(name: str, ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except Exception as error:
        log.exception("the check %s broke", name)
        result = crashed(name, error)
        return Answer({None: result}, {"problem": result.problem}, has_crashed=True)


def _landing(lake: duckdb.DuckDBPyConnection, topic: str, since: datetime, ends: Ends | None) -> Answer:
    if ends is None:
        raise KafkaUnavailable("Kafka does not tell where its topics end")
    lag = health.landing_lags(lake, ends)[topic]
    limit = HealthSettings.load().max_landing_lag
    result = RuleResult(LANDING, lag <= limit, lag, sample=(f"{lag} records wait",), severity=WARN)
    return Answer({None: result}, {"records_waiting": lag, "limit": limit})


def _failed(lake: duckdb.DuckDBPyConnection, table: str, since: datetime, ends: Ends | None) -> Answer:
    try:
        shares = health.failed_shares(lake, since)
    except duckdb.CatalogException:
        return Answer({}, {"problem": "nothing has been staged yet"})
    limit = HealthSettings.load().max_failed_share
    results: dict[str | None, RuleResult] = {
        each.tenant_id: RuleResult(
            FAILED,
            each.share <= limit,
            each.count_events,
            each.count_failed,
            (f"share {each.share:.4f}",),
            severity=WARN,
        )
        for each in shares
    }
    metadata = {
        "tenants": dg.MetadataValue.json([{**asdict(each), "share": each.share} for each in shares]),
        "limit": limit,
        "records_of_nobody": health.count_foreign_records(lake, since),
    }
    return Answer(results, metadata)


def _clocks(lake: duckdb.DuckDBPyConnection, table: str, since: datetime, ends: Ends | None) -> Answer:
    skews = health.clock_skews(lake, table, since)
    limit = HealthSettings.load().max_future_share
    results: dict[str | None, RuleResult] = {
        each.tenant_id: RuleResult(
            CLOCKS,
            each.share_from_future <= limit,
            each.count_events,
            each.count_from_future,
            (f"median {each.median_seconds:.1f} s", f"p95 {each.p95_seconds:.1f} s"),
            severity=WARN,
        )
        for each in skews
    }
    metadata = {
        "tenants": dg.MetadataValue.json(
            [{**asdict(each), "share_from_future": each.share_from_future} for each in skews]
        ),
        "limit": limit,
    }
    return Answer(results, metadata)


_ASK = {LANDING: _landing, FAILED: _failed, CLOCKS: _clocks}


def _rows(key: dg.AssetKey, answer: Answer) -> Iterator[Checked]:
    for tenant_id, result in answer.results.items():
        yield Checked("health", "/".join(key.path), [result], tenant_id=tenant_id)


def _check_result(key: dg.AssetKey, answer: Answer) -> dg.AssetCheckResult:
    # A landing that stands still and a check that broke need somebody; the others are for a word with a
    # partner.
    needs_somebody = answer.has_crashed or CHECKS[key] == LANDING
    return dg.AssetCheckResult(
        asset_key=key,
        check_name=CHECKS[key],
        passed=all(each.passed for each in answer.results.values()),
        severity=dg.AssetCheckSeverity.ERROR if needs_somebody else dg.AssetCheckSeverity.WARN,
        metadata=answer.metadata,
    )

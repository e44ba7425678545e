"""Posts with features, and the marts that dbt's own SQL makes of them in a DuckDB in memory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from pipelines.defs.transformation.project import text_study
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.protocols import TextChange
from tests.fakes.dbt_models import sql_of_model
from tests.fakes.inputs import inputs

MARTS = {
    "feature_trends": "fct_feature_trend",
    "feature_series": "fct_feature_series",
    "feature_authors": "fct_feature_authors",
}
IDENTITY = ("tenant_id", "group_id", "participant_id", "act_id", "posted_on", "has_consent", "data_class")


def marts_of(posts: pd.DataFrame, protocol: TextChange) -> Inputs:
    """`posts`: tenant_id, group_id, participant_id, act_id, posted_on, and a column for each feature, NaN
    where a post has none. Optional: has_consent (true) and data_class (synthetic) of the author."""
    told = posts.copy()
    for name, value in (("has_consent", True), ("data_class", "synthetic")):
        if name not in posts.columns:
            told[name] = value
    features = [name for name in told.columns if name not in IDENTITY]
    with closing(duckdb.connect()) as lake:
        lake.execute("SET TimeZone = 'UTC'")
        lake.register("posts", told)
        lake.execute(_events(features, protocol.dictionary))
        lake.execute(
            "CREATE TABLE dim_participant AS SELECT tenant_id, participant_id, any_value(data_class) "
            "AS data_class, bool_and(has_consent) AS has_research_consent FROM posts GROUP BY ALL"
        )
        for model in ("int_posts_measured", *MARTS.values()):
            lake.execute(f"CREATE TABLE {model} AS {sql_of_model(model, [text_study(protocol)])}")
        frames: dict[str, Any] = {
            name: lake.execute(f"SELECT * FROM {mart} ORDER BY ALL").df() for name, mart in MARTS.items()
        }
    made = inputs()
    return type(made)(**{**vars(made), **frames})


def _events(features: Sequence[str], dictionary: str) -> str:
    """Each post as two events, measured a day after it was written. Codes may be any, so they are quoted."""
    pairs = ", ".join(f"""{{'code': '{name}', 'value': CAST("{name}" AS DOUBLE)}}""" for name in features)
    common = "tenant_id, group_id, participant_id, act_id, 0 AS landed_seq, '' AS topic_id"
    place = "0 AS kafka_partition, 0 AS kafka_offset, 0 AS event_index"
    return f"""
        CREATE TABLE int_participation_events_kept AS
        SELECT {common}, {place}, 'm-' || act_id AS event_id, 'text_features_measured' AS kind,
               CAST(posted_on AS TIMESTAMPTZ) + INTERVAL 1 DAY AS occurred_at,
               '{dictionary}' AS text_features_dictionary,
               list_filter([{pairs}], lambda pair: pair.value IS NOT NULL AND NOT isnan(pair.value))
                 AS text_features
        FROM posts
        UNION ALL
        SELECT {common}, {place}, 'p-' || act_id, 'thread_started',
               CAST(posted_on AS TIMESTAMPTZ) + INTERVAL 9 HOUR, NULL, NULL
        FROM posts
    """


FIRST, LAST = np.datetime64("2020-01-01"), np.datetime64("2020-04-20")


def text_change(**changes: Any) -> TextChange:
    """A protocol of this window, of a study `s`, for communities of any size."""
    told: dict[str, Any] = {
        "study": "s",
        "system": "covid_change",
        "version": "1",
        "dated": "2019-01-01",
        "population": "authors",
        "design": "descriptive",
        "dictionary": "d-1",
        "min_authors": 1,
        "period": {"first": str(FIRST), "last": str(LAST)},
        "interruption": {"first": "2020-03-11", "event": "a lockdown"},
    }
    return TextChange.model_validate(told | changes)


def each_by_another(posts: pd.DataFrame, tenant: str = "t") -> pd.DataFrame:
    """Posts of one tenant, each of an author who wrote no other."""
    names = [f"{number:06}" for number in range(len(posts))]
    return posts.assign(
        tenant_id=tenant,
        participant_id=[f"p{each}" for each in names],
        act_id=[f"a{each}" for each in names],
    )

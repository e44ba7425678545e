"""What readers of the evidence can rely on: which columns there are, and that each has a meaning."""

from __future__ import annotations

import pytest

from pipelines.evidence.rows import TABLES, Table
from pipelines.quality.suites import RAW_SUITES
from pipelines.quality.suites.evidence import ALWAYS_THERE
from services.kafka.topics import landed_topics
from services.landing.raw_tables import raw_columns

EVERY_ESTIMATE = """
    system study protocol_version post_hoc tenant data_class source_kind release_id population outcome
    instrument contrast estimate_name estimate se ci_low ci_high ci_level n denominator missing_share
    n_consented n_excluded anytime_low anytime_high looks method design period suppressed
    suppression_reason lake_snapshot code_version computed_at
"""


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_estimate_row_carries_what_it_must(table: Table) -> None:
    names = [column.name for column in table.columns]
    assert set(names) >= set(EVERY_ESTIMATE.split())
    assert len(names) == len(set(names))
    assert set(table.key) <= set(names)
    assert set(names) >= set(ALWAYS_THERE)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_published_column_is_documented(table: Table) -> None:
    assert table.description
    assert [column.name for column in table.columns if len(column.description) < 10] == []


def test_a_contrast_tells_the_size_of_each_arm() -> None:
    names = {column.name for column in TABLES["carers_controlled"].columns}
    assert names >= {"n_arm", "n_reference"}


def test_every_raw_table_has_a_suite_on_columns_that_exist() -> None:
    landed = {str(topic.raw_table): {name for name, _ in raw_columns(topic)} for topic in landed_topics()}
    assert set(RAW_SUITES) == set(landed)
    for table, suite in RAW_SUITES.items():
        assert set(suite.columns) <= landed[table]
        assert len({rule.name for rule in suite.rules}) == len(suite.rules)

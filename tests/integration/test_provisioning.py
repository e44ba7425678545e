"""Who may see what on the running stack's PostgreSQL, and that provisioning may be repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from services.kafka.client import admin
from services.kafka.topics import topics
from services.runtime.settings import KafkaSettings, PostgresSettings, ReaderSettings
from tests.stacks import Stack

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("stack")]


@contextmanager
def _as(role: str, database: str) -> Iterator[Any]:
    postgres, readers = PostgresSettings.load(), ReaderSettings.load()
    update: dict[str, Any] = {}
    if role != "owner":
        update = {"user": getattr(readers, f"{role}_user"), "password": getattr(readers, f"{role}_password")}
    with closing(psycopg2.connect(postgres.model_copy(update=update).dsn(database))) as connection:
        yield connection.cursor()


def test_topics_are_as_the_registry_says() -> None:
    with closing(admin(KafkaSettings.load())) as client:
        found = {each["name"]: len(each["partitions"]) for each in client.describe_topics(list(topics()))}
    assert found == {name: topic.partitions for name, topic in topics().items()}


def test_a_changed_topic_is_corrected(stack: Stack) -> None:
    from kafka.admin import ConfigResource, ConfigResourceType

    from infra.provisioning.topics import differences

    wanted = topics()["study-events"]
    resource = ConfigResource(ConfigResourceType.TOPIC, wanted.name)
    with closing(admin(KafkaSettings.load())) as client:
        other = ConfigResource(ConfigResourceType.TOPIC, wanted.name, configs={"retention.ms": "123456789"})
        client.alter_configs([other])
        assert stack.circles("provision").returncode == 0
        found = client.describe_configs([resource], config_filter="all")["topic"][wanted.name]
    assert differences(wanted, found) == {}


@pytest.mark.parametrize("role", ["operator", "analyst"])
@pytest.mark.parametrize("database", ["circles_control", "circles_lake", "circles_dagster"])
def test_readers_cannot_even_connect_to_the_other_databases(role: str, database: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="permission denied"), _as(role, database):
        pass


def test_an_analyst_sees_evidence_and_not_live() -> None:
    with _as("owner", "circles") as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS evidence.probe_of_a_test AS SELECT 1 AS one")
        cursor.connection.commit()
        try:
            _sees_evidence_only()
        finally:
            cursor.execute("DROP TABLE evidence.probe_of_a_test")
            cursor.connection.commit()


def _sees_evidence_only() -> None:
    with _as("analyst", "circles") as cursor:
        cursor.execute("SELECT one FROM evidence.probe_of_a_test")
        assert cursor.fetchall() == [(1,)]
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("SELECT * FROM live.group_engagement")


@pytest.mark.parametrize("role", ["operator", "analyst"])
@pytest.mark.parametrize("schema", ["evidence", "live", "quality", "public"])
def test_readers_change_nothing(role: str, schema: str) -> None:
    with _as(role, "circles") as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cursor.execute(f"CREATE TABLE {schema}.mine (a int)")


def test_an_operator_sees_live() -> None:
    with _as("operator", "circles") as cursor:
        cursor.execute("SELECT count(*) FROM live.group_engagement")
        assert cursor.fetchone() is not None


def test_no_role_of_ours_but_the_administrator_is_a_superuser() -> None:
    with _as("owner", "circles") as cursor:
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolsuper")
        assert cursor.fetchall() == [("circles_admin",)]


@pytest.mark.parametrize(
    "table",
    [
        "live.group_engagement",
        "quality.expectation_results",
        "quality.expectation_summary",
        "quality.mart_days",
        "quality.suite_runs",
    ],
)
def test_every_column_of_a_table_that_people_read_is_documented(table: str) -> None:
    with _as("owner", "circles") as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NULL",
            (table,),
        )
        assert cursor.fetchall() == []


def test_sql_on_the_lake_and_on_the_published_tables(stack: Stack) -> None:
    assert stack.circles("sql", "--csv", "SELECT 1 AS one, NULL AS none").stdout.splitlines() == [
        "one,none",
        "1,",
    ]
    assert "circles_analyst" in stack.circles("sql", "--published", "SELECT current_user AS me").stdout
    live = "SELECT count(*) FROM live.group_engagement"
    assert stack.circles("sql", "--operator", live).returncode == 0
    assert "permission denied" in stack.circles("sql", "--published", live).stderr
    deletion = stack.circles("sql", "--operator", "DELETE FROM live.group_engagement")
    assert "permission denied" in deletion.stderr
    wrong = stack.circles("sql", "SELECT nothing_like_it")
    assert wrong.returncode == 1
    assert "Traceback" not in wrong.stderr


def test_a_key_is_made_listed_and_revoked(stack: Stack) -> None:
    key = stack.circles("keys", "add", "keyed-partner", "--data-class", "synthetic").stdout.strip()
    key_id = key.split("_")[1]
    listed = stack.circles("keys", "list").stdout
    assert key_id in listed
    assert key not in listed
    assert stack.circles("keys", "revoke", key_id).returncode == 0
    again = stack.circles("keys", "revoke", key_id)
    assert again.returncode == 1
    assert "no valid key" in again.stderr
    other_class = stack.circles("keys", "add", "keyed-partner", "--data-class", "live")
    assert other_class.returncode == 1
    assert "Traceback" not in other_class.stderr


def test_logs_of_a_process_and_of_none(stack: Stack) -> None:
    assert "Kafka Server started" in stack.circles("logs", "kafka").stdout
    missing = stack.circles("logs", "kafak")
    assert missing.returncode == 1
    assert "kafka" in missing.stderr

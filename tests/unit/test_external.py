"""URLs of servers elsewhere become the settings that they mean."""

from __future__ import annotations

import pytest

from infra.local.errors import StackError
from infra.local.external import kafka_settings, postgres_settings


def test_a_kafka_url_with_everything() -> None:
    url = "kafka://me:p%40ss@one:9092,two:9093?security=SASL_SSL&mechanism=SCRAM-SHA-512&ca=/ca.pem&replication=3"
    assert kafka_settings(url) == {
        "CIRCLES_KAFKA_BOOTSTRAP": "one:9092,two:9093",
        "CIRCLES_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "CIRCLES_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "CIRCLES_KAFKA_USERNAME": "me",
        "CIRCLES_KAFKA_PASSWORD": "p@ss",
        "CIRCLES_KAFKA_CA_FILE": "/ca.pem",
        "CIRCLES_KAFKA_REPLICATION_FACTOR": "3",
        "CIRCLES_STACK_KAFKA_EMBEDDED": "false",
    }


@pytest.mark.parametrize(
    ("hosts", "bootstrap"),
    [("one", "one:9092"), ("one,two:1", "one:9092,two:1"), ("[::1]", "[::1]:9092"), ("[::1]:5", "[::1]:5")],
)
def test_the_port_is_kafkas_usual_one(hosts: str, bootstrap: str) -> None:
    assert kafka_settings(f"kafka://{hosts}")["CIRCLES_KAFKA_BOOTSTRAP"] == bootstrap


def test_credentials_go_over_tls_unless_said_otherwise() -> None:
    assert kafka_settings("kafka://me:pw@one")["CIRCLES_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
    assert kafka_settings("kafka://one")["CIRCLES_KAFKA_SECURITY_PROTOCOL"] == "PLAINTEXT"


def test_a_postgres_url() -> None:
    settings = postgres_settings("postgresql://owner:p%2Fw@db?sslmode=require")
    assert settings["CIRCLES_POSTGRES_HOST"] == "db"
    assert settings["CIRCLES_POSTGRES_PORT"] == "5432"
    assert settings["CIRCLES_POSTGRES_PASSWORD"] == "p/w"
    assert settings["CIRCLES_POSTGRES_SSLMODE"] == "require"
    assert settings["CIRCLES_STACK_POSTGRES_EMBEDDED"] == "false"


@pytest.mark.parametrize(
    "url",
    ["http://one", "kafka://", "kafka://me:secret@one?securty=SSL", "kafka://me:secret@one?mechanism=GSSAPI"],
)
def test_a_wrong_kafka_url_is_explained_without_repeating_its_password(url: str) -> None:
    with pytest.raises(StackError, match="CIRCLES_KAFKA_URL") as refusal:
        kafka_settings(url)
    assert refusal.value.next_step
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url",
    ["mysql://o:secret@db", "postgresql://o:secret@db/circles", "postgresql://db", "postgresql://o@db?x=1"],
)
def test_a_wrong_postgres_url_is_explained_without_repeating_its_password(url: str) -> None:
    with pytest.raises(StackError, match="CIRCLES_POSTGRES_URL") as refusal:
        postgres_settings(url)
    assert "secret" not in str(refusal.value)

"""Settings of every process, read from the environment and from `stack.env` in the data folder.

The embedded stack writes `stack.env` when it is created (ports, generated passwords); a deployment
with its own Kafka and PostgreSQL sets the same names in the environment, which win. This is the only
module that reads the environment.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

DEFAULT_HOME = ".circles"


def home() -> Path:
    """The data folder: `CIRCLES_HOME`, else `.circles` in the current folder. Absolute."""
    return Path(os.environ.get("CIRCLES_HOME", DEFAULT_HOME)).resolve()  # noqa: TID251


class _Fragment(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, populate_by_name=True)

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Reads environment over `stack.env` over defaults. Raises ValidationError naming the setting."""
        return cls(_env_file=home() / "stack.env", **overrides)  # type: ignore[call-arg]


class KafkaSettings(_Fragment):
    """How to reach Kafka."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_KAFKA_", extra="ignore", frozen=True)

    bootstrap: str = "127.0.0.1:19092"
    """Comma-separated host:port."""
    security_protocol: str = "SASL_PLAINTEXT"
    """PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. The embedded broker listens on loopback only."""
    sasl_mechanism: str = "SCRAM-SHA-256"
    username: str = "circles"
    password: SecretStr = SecretStr("")
    ca_file: Path | None = None
    """Certificate authority for SSL and SASL_SSL."""
    replication_factor: int = 1
    """Of topics that provisioning creates. 3 on a cluster."""


class PostgresSettings(_Fragment):
    """How to reach PostgreSQL. One server, four databases; see infra/provisioning."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_POSTGRES_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = 15432
    user: str = "circles_owner"
    password: SecretStr = SecretStr("")
    sslmode: str = "prefer"
    database_control: str = "circles_control"
    """Tenants and hashed API keys. Gateway and operators' commands only."""
    database_lake: str = "circles_lake"
    """Catalog of the lake. Landing and pipelines only."""
    database_dagster: str = "circles_dagster"
    """Dagster's own storage."""
    database_published: str = "circles"
    """Schemas `evidence` (analysts) and `live` (operators)."""

    def dsn(self, database: str) -> str:
        """A libpq keyword string. Holds the password: never log it."""
        # None leaves a keyword out; an empty one would take the next keyword for its value.
        return self._dsn(database, password=self.password.get_secret_value() or None)

    def dsn_with_password_file(self, database: str) -> str:
        """The same without the password, for DuckDB and dbt, which print it when they cannot connect."""
        path = home() / "secrets" / f"{self.user}.pgpass"
        escaped = self.password.get_secret_value().replace("\\", "\\\\").replace(":", "\\:")
        line = f"*:*:*:{self.user}:{escaped}\n"
        if not path.exists() or path.read_text() != line:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.touch(mode=0o600)
            temporary.write_text(line)
            temporary.replace(path)
        return self._dsn(database, passfile=str(path))

    def _dsn(self, database: str, **access: str | None) -> str:
        from psycopg2.extensions import make_dsn

        dsn: str = make_dsn(
            host=self.host,
            port=self.port,
            user=self.user,
            dbname=database,
            sslmode=self.sslmode,
            connect_timeout=10,
            **access,
        )
        return dsn


class LakeSettings(_Fragment):
    """Where the lake's Parquet files are."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_LAKE_", extra="ignore", frozen=True)

    data_path: Path = Field(default_factory=lambda: home() / "lake")
    extension_directory: Path = Field(default_factory=lambda: home() / "duckdb-extensions")
    """DuckDB's extensions, copied from their wheels so that nothing is downloaded."""
    threads: int = 2
    memory_limit: str = "2GB"
    target_file_mib: int = Field(default=128, ge=1)
    """Maintenance merges files up to about this size: what can be sorted within the memory limit."""


class RetentionSettings(_Fragment):
    """How long the lake keeps what is no longer current. Maintenance obeys them: `pipelines.maintenance`."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_RETENTION_", extra="ignore", frozen=True)

    snapshot_hours: float = Field(default=48.0, ge=0)
    """How long the lake can be read as it was at any moment."""
    release_days: int = Field(default=90, ge=0)
    """How long the snapshot of each day's last release is kept. Of releases and candidates whose tables are
    still in PostgreSQL it is kept in any case."""
    old_file_hours: float = Field(default=6.0, ge=0)
    """How long a file stays on disk after nothing names it. Longer than the longest query: it may read it."""
    orphan_hours: float = Field(default=24.0, ge=0)
    """How old a file is that no snapshot ever named before it is deleted. Longer than the longest
    transaction, whose files look like this until it commits."""
    raw_days: str = ""
    """Of some raw tables how many days of landing are kept, as `participation_events=730,outcome_events=730`.
    Older rows are deleted once they are staged. Empty: all for ever."""


class IngestionSettings(_Fragment):
    """The gRPC gateway."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_INGESTION_", extra="ignore", frozen=True)

    host: str = "127.0.0.1"
    port: int = 15051
    processes: int = Field(default=1, ge=1, le=64)
    """Gateways that share the port. Each has its part of the limits below."""

    tls_certificate_file: Path | None = None
    """PEM chain. With it and the key the gateway speaks TLS; both are read again when they change."""
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = None
    """With it a partner must show a certificate of this authority as well as its key (mutual TLS)."""
    plaintext_beyond_loopback: bool = False
    """Without TLS the gateway refuses another bind than loopback. True is for a private container network
    only, where something else ends TLS."""

    max_events_per_batch: int = Field(default=500, ge=1, le=500)
    max_event_bytes: int = 32 * 1024
    max_message_bytes: int = 4 * 1024 * 1024
    max_concurrent_calls: int = 1024
    """Unary calls and streams; further ones are refused with RESOURCE_EXHAUSTED."""
    max_bytes_in_flight: int = 64 * 1024 * 1024
    """Of requests not answered yet: with Kafka slow, unary calls beyond it are refused, streams wait."""
    max_calls_per_connection: int = 128
    window_batches: int = Field(default=16, ge=1, le=256)
    """How many batches of one stream may be unanswered."""
    remembered_events: int = 200_000
    """How many of the newest events are remembered, to answer DUPLICATE and CONFLICT; some 150 bytes each."""

    tenant_events_per_second: float = 50_000
    """Limits of a tenant, unless `circles keys limit` sets its own."""
    tenant_bytes_per_second: float = 25_000_000
    tenant_streams: int = 32

    kafka_timeout_seconds: float = 10.0
    """After this long without Kafka's acknowledgement an event is answered UNAVAILABLE."""
    rounds_in_flight: int = Field(default=1, ge=1, le=16)
    """How many shared sendings to Kafka may be unacknowledged; what comes meanwhile goes into the next."""
    linger_seconds: float = 0.02
    """While calls come without pause, a sending waits so long at most for more to share it."""
    drain_seconds: float = 10.0
    """How long a stopping gateway finishes calls that are under way."""
    key_refresh_seconds: float = 0.5
    """How old the gateway's copy of the API keys may be: a revoked key works for at most this long."""
    keepalive_seconds: float = 60.0
    """After so long without traffic the gateway asks whether the partner is still there."""
    connection_idle_seconds: float = 900.0
    connection_age_seconds: float = 3600.0
    """An older connection is closed politely, so that partners spread over new gateways and certificates."""

    instrument_folder: Path = Field(default_factory=lambda: home() / "instruments")
    """An operator's own instruments, shaped like protos/instruments."""
    licensed_instruments: str = ""
    """Comma-separated codes of closed instruments whose items this deployment may hold."""

    metrics_port: int = 0
    """Prometheus metrics on loopback; 0: none. Each process takes the next port."""
    traces_endpoint: str = ""
    """An OpenTelemetry collector (OTLP over gRPC) as http://127.0.0.1:4317; empty: no traces."""

    pseudonym_key_file: Path = Field(default_factory=lambda: home() / "secrets" / "pseudonym.key")
    """32 random bytes. Whoever has it can link pseudonyms to references; losing it unlinks the future
    from the past. Back it up apart from the data."""


class PartnerSettings(_Fragment):
    """Who posts what `circles import` reads, and where. The key is never among the arguments."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_PARTNER_", extra="ignore", frozen=True)

    key: SecretStr = SecretStr("")
    address: str = ""
    """Of the gateway; empty: this machine's own."""


class EngagementSettings(_Fragment):
    """The Faust worker."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_ENGAGEMENT_", extra="ignore", frozen=True)

    flush_seconds: float = 0.5
    """How often touched figures are written; a figure is at most this much behind its worker."""
    max_events_in_memory: int = 12_000_000
    """Some 70 bytes each; beyond it the groups that were idle for longest lie in the data folder."""
    stall_seconds: float = 60.0
    """With input waiting and no progress for this long, the worker ends itself; it is then restarted."""


class SafeguardingSettings(_Fragment):
    """The safeguarding path. What the settings mean to an operator: docs/guides/safeguarding.md."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_SAFEGUARDING_", extra="ignore", frozen=True)

    answer_minutes: float = Field(default=60.0, gt=0)
    """How long a case may be without an answer, from the gateway's `received_at`."""
    answer_minutes_by_kind: str = ""
    """Of some kinds of risk another time, as `suicide=15,self_harm=30`."""
    contact: str = Field(default="", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    """Whom to call when nobody could be told, as `Duty desk, +44 20 7946 0000`. Shown, never called by us."""

    webhook_url: SecretStr | None = None
    """Where alerts are posted: https, or http on loopback. A secret, since many such addresses are keys."""
    webhook_secret_file: Path | None = None
    """At least 32 bytes. Signs every alert; read anew each time, so that it may be replaced."""
    webhook_levels: str = "opened,breached,escalated,closed"
    """Which alerts are posted."""
    webhook_data_classes: str = "live,public,synthetic"
    """Of which tenants."""
    webhook_timeout_seconds: float = Field(default=10.0, gt=0)
    """Of one attempt, all in all."""
    webhook_retry_seconds: float = Field(default=1.0, gt=0)
    """Before the second attempt. Each further wait is twice as long; up to half of it is left to chance."""
    webhook_max_retry_seconds: float = Field(default=60.0, gt=0)

    escalate_minutes: float = Field(default=5.0, gt=0)
    """An alert about an open case that is undelivered for this long is escalated."""
    escalation_url: SecretStr | None = None
    """Where escalations are posted as well: another way to somebody else."""
    escalation_secret_file: Path | None = None

    heartbeat_seconds: float = Field(default=60.0, gt=0)
    legal_period_days: int = Field(default=7305, ge=0)
    """How long a closed case has to be kept; 20 years. Nothing is erased before."""
    accept_recreated_input: bool = False
    """True goes on after topic participation-events was deleted and made anew on purpose."""
    stall_seconds: float = 60.0
    """With input waiting and no progress for this long, the worker ends itself; it is then restarted."""


class LandingSettings(_Fragment):
    """The Kafka-to-lake loader."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_LANDING_", extra="ignore", frozen=True)

    commit_seconds: float = 2.0
    commit_rows: int = 200_000
    """A commit holds about this many rows, or what came in that time, whichever is reached first.

    While one is committed the next one grows, up to twice as many.
    """


class QuarantineSettings(_Fragment):
    """Foreign bytes found on a topic."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_QUARANTINE_", extra="ignore", frozen=True)

    key_file: Path = Field(default_factory=lambda: home() / "secrets" / "quarantine.key")
    """Fernet key. Foreign bytes are kept under it for the retention of `failed-events`, 7 days."""


class HealthSettings(_Fragment):
    """What the job check_health takes for healthy."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_HEALTH_", extra="ignore", frozen=True)

    max_landing_lag: int = Field(default=10_000, ge=0)
    """Records of a topic that may wait to be landed. One holds up to 500 events of a tenant."""
    max_failed_share: float = Field(default=0.01, ge=0, le=1)
    """Of a tenant's events of the last day, the share that may have failed."""
    max_future_share: float = Field(default=0.01, ge=0, le=1)
    """Of a live tenant's events of the last day, the share that may have occurred after they arrived."""


class DagsterSettings(_Fragment):
    """What days the warehouse has, and who is told of failed runs."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_DAGSTER_", extra="ignore", frozen=True)

    first_day: date = date(2026, 1, 1)
    """The first day on which anything may have landed, in UTC: there the partitions of the warehouse begin.
    `circles up` writes the day on which it made the data folder."""
    webhook_url: SecretStr | None = None
    """Where failed runs are posted: https, or http on loopback. A secret, as many such addresses are keys."""
    webhook_secret_file: Path | None = None
    """At least 32 bytes. Signs each post as safeguarding's alerts are signed."""
    webhook_timeout_seconds: float = Field(default=10.0, gt=0)
    page_url: str = ""
    """Where people reach Dagster's page, for links to runs. Empty: on loopback."""


class StackSettings(_Fragment):
    """The embedded stack: what only `circles up` and its kin need to know."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_STACK_", extra="ignore", frozen=True)

    kafka_port: int = 19092
    kafka_controller_port: int = 19093
    dagster_port: int = 13000
    """Dagster's web page."""
    dagster_code_host: str = "127.0.0.1"
    """Elsewhere only between containers."""
    dagster_code_port: int = 13001
    """Dagster's code server, which holds the pipelines."""
    viewer: bool = False
    """Whether a second page of Dagster's runs, on which nothing can be started or changed."""
    viewer_port: int = 13002
    kafka_embedded: bool = True
    """False when `CIRCLES_KAFKA_URL` named a Kafka that runs elsewhere."""
    postgres_embedded: bool = True
    """False when `CIRCLES_POSTGRES_URL` named a PostgreSQL that runs elsewhere."""
    kafka_heap_mib: int = 512
    kafka_internal_password: SecretStr = SecretStr("")
    """Of the broker's own users, on its way to itself and to its controller."""
    postgres_admin_user: str = "circles_admin"
    postgres_admin_password: SecretStr = SecretStr("")
    """Superuser that makes databases and roles. Without a password provisioning acts as the owner."""
    min_free_mib: int = 1024
    """`circles up` refuses to start on a fuller disk: Kafka and PostgreSQL stop badly on a full one."""
    kafka_url: SecretStr | None = Field(default=None, validation_alias="CIRCLES_KAFKA_URL")
    """kafka://user:password@host:9092,host2:9092?security=SASL_SSL&mechanism=SCRAM-SHA-512&ca=/path.pem"""
    postgres_url: SecretStr | None = Field(default=None, validation_alias="CIRCLES_POSTGRES_URL")
    """postgresql://owner:password@host:5432?sslmode=require"""


class ReaderSettings(_Fragment):
    """The two PostgreSQL roles of people who read: operators (live, evidence) and analysts (evidence)."""

    model_config = SettingsConfigDict(env_prefix="CIRCLES_", extra="ignore", frozen=True)

    operator_user: str = "circles_operator"
    operator_password: SecretStr = SecretStr("")
    analyst_user: str = "circles_analyst"
    analyst_password: SecretStr = SecretStr("")

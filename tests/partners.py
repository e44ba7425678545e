"""A partner of our own for tests: a tenant with a key on the running stack, and events to post.

How the stack runs is `stacks`; what the events become is each test's question.
"""

from __future__ import annotations

import contextlib
import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import grpc
import pytest
from circles.client import Client
from circles.participation.v1 import participation_event_pb2, participation_service_pb2
from circles.participation.v1 import participation_service_pb2_grpc as participation_grpc

from infra.cli.figures import gather
from services.ingestion.keys import create_key
from services.kafka import client
from services.kafka.topics import topics
from services.runtime.lake import open_lake
from services.runtime.postgres import connect
from services.runtime.settings import KafkaSettings, PostgresSettings
from tests.stacks import Stack, wait_until

_numbers = itertools.count()


@dataclass
class Partner:
    """A tenant with its key."""

    stack: Stack
    tenant_id: str
    key: str

    def client(self, patience_seconds: float = 60.0) -> Client:
        return Client(self.address, self.key, patience_seconds=patience_seconds)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.stack.ports['ingestion']}"

    def call(self, events: Sequence[Any], key: str | None = None, timeout: float = 60.0) -> Any:
        """One call with participation events, without the client's patience. Raises grpc.RpcError."""
        with grpc.insecure_channel(self.address) as channel:
            return participation_grpc.ParticipationServiceStub(channel).PostParticipationEvents(
                participation_service_pb2.PostParticipationEventsRequest(events=events),
                metadata=(("authorization", f"Bearer {self.key if key is None else key}"),),
                timeout=timeout,
            )

    def is_refused(self, events: Sequence[Any]) -> bool:
        """Whether the gateway does not take the key any more."""
        try:
            self.call(events)
        except grpc.RpcError as error:
            return bool(error.code() == grpc.StatusCode.UNAUTHENTICATED)
        return False


def refusal(partner: Partner, events: Sequence[Any], key: str | None = None) -> tuple[grpc.StatusCode, str]:
    """Code and words with which the gateway ends a call that it must end."""
    with pytest.raises(grpc.RpcError) as caught:
        partner.call(events, key=key)
    return caught.value.code(), caught.value.details() or ""


def new_partner(stack: Stack, name: str, data_class: str = "synthetic") -> Partner:
    """A tenant that no other test uses."""
    tenant_id = f"{name}-{next(_numbers)}-{uuid.uuid4().hex[:6]}"
    settings = PostgresSettings.load()
    with contextlib.closing(connect(settings, settings.database_control)) as connection:
        return Partner(stack, tenant_id, create_key(connection, tenant_id, data_class))


def attended(group: str = "g1", person: str = "p1", at: int = 1_780_000_000) -> Any:
    event = participation_event_pb2.ParticipationEvent(
        event_id=str(uuid.uuid4()), group_ref=group, participant_ref=person
    )
    event.occurred_at.FromSeconds(at)
    event.session_attended.session_ref = "s1"
    return event


def lake_rows(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    with contextlib.closing(open_lake(read_only=True)) as lake:
        rows: list[tuple[Any, ...]] = lake.execute(statement, list(values)).fetchall()
        return rows


def landed(tenant_id: str, table: str = "participation_events") -> int:
    """How many rows of the tenant are in a raw table."""
    with contextlib.suppress(duckdb.CatalogException):
        return int(lake_rows(f"SELECT count(*) FROM raw.{table} WHERE tenant_id = ?", tenant_id)[0][0])
    return 0


def published_rows(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    settings = PostgresSettings.load()
    with (
        contextlib.closing(connect(settings, settings.database_published)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(statement, values)
        return list(cursor.fetchall())


def wait_until_quiet(*consumers: str) -> None:
    """Returns when every consumer of this session's stack, or each of these, has everything that is on the
    topics, figures of figures included."""

    def is_quiet() -> bool:
        topics = [each for each in gather()["topics"] if not consumers or each["consumer"] in consumers]
        return bool(topics) and all(line["lag"] == 0 for line in topics)

    wait_until(is_quiet, "no lag", seconds=180)


def end_offsets(topic: str) -> dict[int, int]:
    ends = client.end_offsets(KafkaSettings.load(), [topics()[topic]])
    return {partition: end for (_, partition), end in ends.items()}

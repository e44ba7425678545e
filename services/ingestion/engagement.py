"""EngagementService: what the gateway answers instead of takes. Figures of the caller's own groups, as
`live.group_engagement` has them.

Here because only the gateway knows who calls and how a group's name becomes its pseudonym. What the figures
are is decided by `services.engagement`; nothing is computed here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple

import grpc
import psycopg2
from circles.engagement.v1 import engagement_service_pb2 as pb
from circles.engagement.v1.engagement_service_pb2_grpc import (
    EngagementServiceServicer,
    add_EngagementServiceServicer_to_server,
)
from circles.engagement.v1.group_engagement_pb2 import WindowEngagement

from services.ingestion import errors
from services.ingestion.authentication import Caller
from services.ingestion.errors import CallError, Context
from services.ingestion.pseudonyms import KINDS, NotAReference, Pseudonymiser
from services.ingestion.servicers import Gateway
from services.runtime.postgres import Connection, PostgresUnavailable, connect
from services.runtime.settings import PostgresSettings

SERVICE = pb.DESCRIPTOR.services_by_name["EngagementService"].full_name
MAX_GROUPS = 100
SECONDS_BETWEEN_LOOKS = 0.5
"""How often a watched group's row is looked at."""

COLUMNS = [field.name for field in WindowEngagement.DESCRIPTOR.fields]
WHERE = "FROM live.group_engagement WHERE tenant_id = %s AND group_id = ANY(%s)"
SELECT = (
    f"SELECT group_id, topic_id, applied_offset, as_of, {', '.join(COLUMNS)} {WHERE} "
    "ORDER BY group_id, window_hours"
)
SELECT_POSITIONS = f"SELECT group_id, topic_id, applied_offset {WHERE} AND window_hours = 1"


class LiveTable:
    """`live.group_engagement`, asked in a thread, one question at a time. Raises CallError."""

    def __init__(self, postgres: PostgresSettings) -> None:
        self._postgres = postgres
        self._connection: Connection | None = None
        self._asking = asyncio.Lock()

    async def figures(self, tenant_id: str, refs: Mapping[str, str]) -> list[pb.GroupFigures]:
        """Of groups by their pseudonyms, in the order of `refs`."""
        found: dict[str, pb.GroupFigures] = {}
        for group_id, topic_id, offset, as_of, *values in await self._ask(SELECT, tenant_id, list(refs)):
            if group_id not in found:
                found[group_id] = pb.GroupFigures(group_ref=refs[group_id], position=f"{topic_id}/{offset}")
                found[group_id].as_of.FromDatetime(as_of)
            given = {name: value for name, value in zip(COLUMNS, values, strict=True) if value is not None}
            found[group_id].windows.append(WindowEngagement(**given))
        return [found[group_id] for group_id in refs if group_id in found]

    async def positions(self, tenant_id: str, group_ids: Sequence[str]) -> dict[str, str]:
        rows = await self._ask(SELECT_POSITIONS, tenant_id, list(group_ids))
        return {group_id: f"{topic_id}/{offset}" for group_id, topic_id, offset in rows}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def _ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        async with self._asking:
            try:
                return await asyncio.to_thread(self._asked, statement, values)
            except (PostgresUnavailable, psycopg2.Error) as error:
                self.close()
                self._connection = None
                raise errors.figures_away() from error

    def _asked(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = connect(self._postgres, self._postgres.database_published)
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall())


class Watched(NamedTuple):
    refs: dict[str, str]
    """The caller's names by pseudonym."""
    positions: dict[str, str]
    """What the caller has, by pseudonym."""


class EngagementServicer(EngagementServiceServicer):
    """The two RPCs. `gateway` says who calls, and what one caller may have."""

    def __init__(self, gateway: Gateway, pseudonymiser: Pseudonymiser, table: LiveTable) -> None:
        self._gateway = gateway
        self._pseudonymiser = pseudonymiser
        self._table = table

    async def GetGroupEngagement(
        self, request: pb.GetGroupEngagementRequest, context: Context
    ) -> pb.GetGroupEngagementResponse:
        try:
            caller = await self._gateway.keys.caller(context)
            refs = self._refs(caller, request.group_refs)
            return pb.GetGroupEngagementResponse(
                groups=await self._table.figures(caller.tenant.tenant_id, refs)
            )
        except CallError as error:
            await errors.abort(context, error)

    async def WatchGroupEngagement(
        self, request: pb.WatchGroupEngagementRequest, context: Context
    ) -> AsyncIterator[pb.WatchGroupEngagementResponse]:
        try:
            caller = await self._gateway.keys.caller(context)
            refs = self._refs(caller, [each.group_ref for each in request.groups])
            has = {each.group_ref: each.after_position for each in request.groups}
            watched = Watched(refs, {group_id: has[ref] for group_id, ref in refs.items()})
            if not self._gateway.limits.open_stream(caller.tenant):
                raise errors.too_many_streams(caller.tenant.tenant_id)
            try:
                async for figures in self._changes(caller, watched):
                    yield pb.WatchGroupEngagementResponse(group=figures)
            finally:
                self._gateway.limits.close_stream(caller.tenant)
        except CallError as error:
            await errors.abort(context, error)

    async def _changes(self, caller: Caller, watched: Watched) -> AsyncIterator[pb.GroupFigures]:
        tenant_id = caller.tenant.tenant_id
        while True:
            self._gateway.keys.tenant_now(caller)
            now = await self._table.positions(tenant_id, list(watched.refs))
            changed = {group_id for group_id, at in now.items() if at != watched.positions[group_id]}
            refs = {group_id: ref for group_id, ref in watched.refs.items() if group_id in changed}
            for figures in await self._table.figures(tenant_id, refs) if refs else []:
                yield figures
                watched.positions[self._group_id(tenant_id, figures.group_ref)] = figures.position
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def _refs(self, caller: Caller, refs: Sequence[str]) -> dict[str, str]:
        """The caller's names by pseudonym. Raises CallError."""
        if not 1 <= len(refs) <= MAX_GROUPS:
            raise errors.wrong_request("group_refs", f"{len(refs)} groups; from 1 to {MAX_GROUPS} allowed")
        try:
            return {self._group_id(caller.tenant.tenant_id, ref): ref for ref in refs}
        except NotAReference as error:
            raise errors.wrong_request("group_refs", "each an opaque reference, as in events") from error

    def _group_id(self, tenant_id: str, ref: str) -> str:
        return self._pseudonymiser.pseudonym(tenant_id, KINDS["group_ref"], ref)


def add_engagement_servicer(servicer: EngagementServicer, server: grpc.aio.Server) -> str:
    """Adds the service; returns its name."""
    add_EngagementServiceServicer_to_server(servicer, server)
    return SERVICE

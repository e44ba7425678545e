"""The four posting RPCs, which differ only in their message types: one function answers them all.

The steps of an event stand here in order; each step's rules are in the module that it names.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from circles.common.v1.common_pb2 import EVENT_STATUS_ACCEPTED, EVENT_STATUS_REFUSED, EventResult
from circles.groups.v1 import group_service_pb2 as groups
from circles.groups.v1 import group_service_pb2_grpc as groups_grpc
from circles.outcomes.v1 import outcome_service_pb2 as outcomes
from circles.outcomes.v1 import outcome_service_pb2_grpc as outcomes_grpc
from circles.participation.v1 import participation_service_pb2 as participation
from circles.participation.v1 import participation_service_pb2_grpc as participation_grpc
from circles.studies.v1 import study_service_pb2 as studies
from circles.studies.v1 import study_service_pb2_grpc as studies_grpc

from services.ingestion.authentication import KeyStore, authenticate
from services.ingestion.envelopes import EnvelopeBuilder
from services.ingestion.keys import Tenant
from services.ingestion.pseudonyms import Pseudonymiser
from services.ingestion.rules import UUID, violations
from services.ingestion.sender import NotAcknowledged, Sender
from services.kafka.topics import Topic, topic

log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class Gateway:
    """What the RPCs share."""

    keys: KeyStore
    pseudonymiser: Pseudonymiser
    sender: Sender
    max_events: int
    count_accepted: int = 0
    count_refused: int = 0

    async def post(self, topic: Topic, events: Sequence[Any], context: Context) -> list[EventResult]:
        """Results in the order of `events`. Returns when Kafka has every accepted one."""
        tenant = await authenticate(self.keys, context)
        await self._refuse_wrong_size(len(events), context)
        builder = EnvelopeBuilder(topic, tenant)
        results = [self._admit(i, event, tenant, builder) for i, event in enumerate(events)]
        try:
            await self.sender.send(topic.name, list(builder.envelopes()))
        except NotAcknowledged:
            await context.abort(
                grpc.StatusCode.UNAVAILABLE,
                "Kafka did not acknowledge in time. Nothing of this batch counts as accepted: "
                "repeat it unchanged, with the same event_ids",
            )
        self._count(results)
        return results

    async def _refuse_wrong_size(self, count: int, context: Context) -> None:
        if not 1 <= count <= self.max_events:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"events: {count} in the batch; from 1 to {self.max_events} allowed",
            )

    def _admit(self, index: int, event: Any, tenant: Tenant, builder: EnvelopeBuilder) -> EventResult:
        event_id = event.event_id if UUID.holds(event.event_id) else ""
        found = violations(event)
        if found:
            return EventResult(index=index, event_id=event_id, status=EVENT_STATUS_REFUSED, violations=found)
        self.pseudonymiser.replace(tenant.tenant_id, event, event.WhichOneof("kind"))
        builder.add(event)
        return EventResult(index=index, event_id=event_id, status=EVENT_STATUS_ACCEPTED)

    def _count(self, results: Sequence[EventResult]) -> None:
        accepted = sum(result.status == EVENT_STATUS_ACCEPTED for result in results)
        self.count_accepted += accepted
        self.count_refused += len(results) - accepted


class ParticipationServicer(participation_grpc.ParticipationServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._topic = topic("participation-events")

    async def PostParticipationEvents(
        self, request: participation.PostParticipationEventsRequest, context: Context
    ) -> participation.PostParticipationEventsResponse:
        results = await self._gateway.post(self._topic, request.events, context)
        return participation.PostParticipationEventsResponse(results=results)


class OutcomeServicer(outcomes_grpc.OutcomeServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._topic = topic("outcome-events")

    async def PostOutcomeEvents(
        self, request: outcomes.PostOutcomeEventsRequest, context: Context
    ) -> outcomes.PostOutcomeEventsResponse:
        results = await self._gateway.post(self._topic, request.events, context)
        return outcomes.PostOutcomeEventsResponse(results=results)


class GroupServicer(groups_grpc.GroupServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._topic = topic("group-events")

    async def PostGroupEvents(
        self, request: groups.PostGroupEventsRequest, context: Context
    ) -> groups.PostGroupEventsResponse:
        results = await self._gateway.post(self._topic, request.events, context)
        return groups.PostGroupEventsResponse(results=results)


class StudyServicer(studies_grpc.StudyServiceServicer):
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._topic = topic("study-events")

    async def PostStudyEvents(
        self, request: studies.PostStudyEventsRequest, context: Context
    ) -> studies.PostStudyEventsResponse:
        results = await self._gateway.post(self._topic, request.events, context)
        return studies.PostStudyEventsResponse(results=results)


def add_servicers(gateway: Gateway, server: grpc.aio.Server) -> None:
    participation_grpc.add_ParticipationServiceServicer_to_server(ParticipationServicer(gateway), server)
    outcomes_grpc.add_OutcomeServiceServicer_to_server(OutcomeServicer(gateway), server)
    groups_grpc.add_GroupServiceServicer_to_server(GroupServicer(gateway), server)
    studies_grpc.add_StudyServiceServicer_to_server(StudyServicer(gateway), server)

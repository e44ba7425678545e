"""The four services side by side, which differ only in their message types: the one table of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import grpc
from circles.groups.v1 import group_event_pb2, group_service_pb2, group_service_pb2_grpc
from circles.outcomes.v1 import outcome_event_pb2, outcome_service_pb2, outcome_service_pb2_grpc
from circles.participation.v1 import (
    participation_event_pb2,
    participation_service_pb2,
    participation_service_pb2_grpc,
)
from circles.studies.v1 import study_event_pb2, study_service_pb2, study_service_pb2_grpc

Event = (
    participation_event_pb2.ParticipationEvent
    | outcome_event_pb2.OutcomeEvent
    | group_event_pb2.GroupEvent
    | study_event_pb2.StudyEvent
)


class Door(NamedTuple):
    """What one service takes: the requests and calls for one event and for a stream of them."""

    post_request: Any
    post: Any
    stream_request: Any
    stream: Any


def doors(channel: grpc.Channel) -> dict[type[Event], Door]:
    """Each service by the type of its events."""
    participation = participation_service_pb2_grpc.ParticipationServiceStub(channel)
    outcomes = outcome_service_pb2_grpc.OutcomeServiceStub(channel)
    groups = group_service_pb2_grpc.GroupServiceStub(channel)
    studies = study_service_pb2_grpc.StudyServiceStub(channel)
    return {
        participation_event_pb2.ParticipationEvent: Door(
            participation_service_pb2.PostParticipationEventsRequest,
            participation.PostParticipationEvents,
            participation_service_pb2.StreamParticipationEventsRequest,
            participation.StreamParticipationEvents,
        ),
        outcome_event_pb2.OutcomeEvent: Door(
            outcome_service_pb2.PostOutcomeEventsRequest,
            outcomes.PostOutcomeEvents,
            outcome_service_pb2.StreamOutcomeEventsRequest,
            outcomes.StreamOutcomeEvents,
        ),
        group_event_pb2.GroupEvent: Door(
            group_service_pb2.PostGroupEventsRequest,
            groups.PostGroupEvents,
            group_service_pb2.StreamGroupEventsRequest,
            groups.StreamGroupEvents,
        ),
        study_event_pb2.StudyEvent: Door(
            study_service_pb2.PostStudyEventsRequest,
            studies.PostStudyEvents,
            study_service_pb2.StreamStudyEventsRequest,
            studies.StreamStudyEvents,
        ),
    }

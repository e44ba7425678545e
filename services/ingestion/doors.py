"""The RPCs by domain, read from the contract: one door per event topic, with its two methods."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from circles.groups.v1 import group_service_pb2
from circles.outcomes.v1 import outcome_service_pb2
from circles.participation.v1 import participation_service_pb2
from circles.studies.v1 import study_service_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from services.kafka.topics import Topic, event_topics

_SERVICES = [
    service
    for module in (group_service_pb2, outcome_service_pb2, participation_service_pb2, study_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]


@dataclass(frozen=True)
class Door:
    """Where one domain's events come in."""

    topic: Topic
    service: ServiceDescriptor
    post: MethodDescriptor
    stream: MethodDescriptor

    # What each call asks again is looked up once.
    @cached_property
    def domain(self) -> str:
        """As `participation`."""
        return self.topic.event.file.package.split(".")[1]

    @cached_property
    def post_request(self) -> Any:
        return GetMessageClass(self.post.input_type)

    @cached_property
    def stream_request(self) -> Any:
        return GetMessageClass(self.stream.input_type)

    @cached_property
    def stream_response(self) -> Any:
        return GetMessageClass(self.stream.output_type)

    @cached_property
    def event(self) -> Any:
        return GetMessageClass(self.topic.event)

    @cached_property
    def late_after_seconds(self) -> float:
        """How long the topic keeps its records: who would rebuild from Kafka finds older events alone."""
        return int(self.topic.config["retention.ms"]) / 1000


def doors() -> list[Door]:
    return [
        _door(topic, service) for topic in event_topics() for service in _SERVICES if _serves(service, topic)
    ]


def _serves(service: ServiceDescriptor, topic: Topic) -> bool:
    return service.file.package == topic.event.file.package


def _door(topic: Topic, service: ServiceDescriptor) -> Door:
    post, stream = (
        next(method for method in service.methods if method.name.startswith(verb))
        for verb in ("Post", "Stream")
    )
    return Door(topic, service, post, stream)

"""Following the live figures of groups: one stream after the other, each from where the last one broke."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import grpc
from circles.engagement.v1.engagement_service_pb2 import (
    GroupFigures,
    WatchedGroup,
    WatchGroupEngagementRequest,
)
from circles.engagement.v1.engagement_service_pb2_grpc import EngagementServiceStub

from services.client.patience import Patience
from services.client.posting import Line


def watch(stub: EngagementServiceStub, line: Line, group_refs: Sequence[str]) -> Generator[GroupFigures]:
    positions = dict.fromkeys(group_refs, "")
    patience = Patience(line.address, line.patience_seconds, line.closed)
    while True:
        groups = [WatchedGroup(group_ref=ref, after_position=at) for ref, at in positions.items()]
        stream = stub.WatchGroupEngagement(
            WatchGroupEngagementRequest(groups=groups), metadata=line.metadata, wait_for_ready=True
        )
        broken = None
        try:
            for answer in stream:
                patience.answered()
                positions[answer.group.group_ref] = answer.group.position
                yield answer.group
        except grpc.RpcError as error:
            broken = error
        finally:
            stream.cancel()  # type: ignore[no-untyped-call]
        patience.wait(broken)

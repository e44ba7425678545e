"""Errors of whole calls, as google.rpc details: what is wrong, where, and when to try again.

A single wrong event is no error of its call: it has its own result.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details  # type: ignore[import-untyped]
from google.rpc import status_pb2

DOMAIN = "circles"
LEAST_DELAY_SECONDS = 0.001

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(eq=False)
class CallError(Exception):
    """Ends a call. `reason` is for programs, in capitals; `message` for people, and says what to do."""

    code: grpc.StatusCode
    reason: str
    message: str
    field: str = ""
    """The field of the request that is wrong."""
    quota: str = ""
    """What there was too much of."""
    retry_seconds: float | None = None
    """When to try again; None: not unchanged."""

    def details(self) -> list[Message]:
        found: list[Message] = [details.ErrorInfo(reason=self.reason, domain=DOMAIN)]
        if self.field:
            violation = details.BadRequest.FieldViolation(field=self.field, description=self.message)
            found.append(details.BadRequest(field_violations=[violation]))
        if self.quota:
            quota = details.QuotaFailure.Violation(subject=self.quota, description=self.message)
            found.append(details.QuotaFailure(violations=[quota]))
        if self.retry_seconds is not None:
            delay = Duration(nanos=0)
            delay.FromMilliseconds(self.retry_milliseconds)
            found.append(details.RetryInfo(retry_delay=delay))
        return found

    @property
    def retry_milliseconds(self) -> int:
        return round(max(self.retry_seconds or 0, LEAST_DELAY_SECONDS) * 1000)


async def abort(context: Context, error: CallError) -> NoReturn:
    """Ends the call. The retry delay is in a plain trailer too, for clients without google.rpc's types."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    for each in error.details():
        packed = PackedAny()
        packed.Pack(each)
        status.details.append(packed)
    trailers: list[tuple[str, str | bytes]] = [("grpc-status-details-bin", status.SerializeToString())]
    if error.retry_seconds is not None:
        trailers.append(("grpc-retry-pushback-ms", str(error.retry_milliseconds)))
    try:
        await context.abort(error.code, error.message, tuple(trailers))
    except grpc.aio.InternalError as gone:
        # The partner has gone and gRPC cannot send the status, which is no fault of ours.
        raise asyncio.CancelledError from gone
    raise AssertionError("abort returned")


def unreadable(message_name: str) -> CallError:
    return CallError(
        grpc.StatusCode.INVALID_ARGUMENT,
        "UNREADABLE",
        f"The bytes are not a {message_name}: use the contract's own stubs",
    )


def wrong_size(count: int, most: int) -> CallError:
    return CallError(
        grpc.StatusCode.INVALID_ARGUMENT,
        "BATCH_SIZE",
        f"events: {count} in the batch; from 1 to {most} allowed",
        field="events",
    )


def wrong_sequence(got: int, last: int) -> CallError:
    return CallError(
        grpc.StatusCode.INVALID_ARGUMENT,
        "SEQUENCE",
        f"sequence: {got} after {last}; each batch of a stream has a higher one, from 1",
        field="sequence",
    )


def no_valid_key(message: str) -> CallError:
    return CallError(grpc.StatusCode.UNAUTHENTICATED, "API_KEY", message)


def over_limit(tenant_id: str, seconds: float) -> CallError:
    return CallError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TENANT_RATE",
        f"Tenant {tenant_id} posts more than its limit: repeat this batch after {seconds:.3f} s, "
        "or ask the operator for a higher limit",
        quota=f"tenant:{tenant_id}",
        retry_seconds=seconds,
    )


def too_many_streams(tenant_id: str) -> CallError:
    return CallError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TENANT_STREAMS",
        f"Tenant {tenant_id} has as many streams open as it may: close one, or ask the operator for more",
        quota=f"tenant:{tenant_id}",
        retry_seconds=5.0,
    )


def no_room() -> CallError:
    return CallError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "GATEWAY_BUSY",
        "Kafka is slow and the gateway holds as much unanswered as it may: repeat this batch a little later",
        quota="gateway",
        retry_seconds=1.0,
    )


def broken() -> CallError:
    return CallError(
        grpc.StatusCode.INTERNAL,
        "BROKEN",
        "The gateway failed at this batch, and its log says how. Nothing of the batch counts as accepted",
    )


def not_acknowledged() -> CallError:
    return CallError(
        grpc.StatusCode.UNAVAILABLE,
        "KAFKA_AWAY",
        "Kafka did not acknowledge in time. Nothing of this batch counts as accepted: repeat it unchanged, "
        "with the same event_ids",
        retry_seconds=1.0,
    )


def wrong_request(field: str, rule: str) -> CallError:
    return CallError(grpc.StatusCode.INVALID_ARGUMENT, "REQUEST", f"{field}: {rule}", field=field)


def figures_away() -> CallError:
    return CallError(
        grpc.StatusCode.UNAVAILABLE,
        "FIGURES_AWAY",
        "Live figures cannot be read at the moment; events are taken all the same. Try again a little later",
        retry_seconds=1.0,
    )

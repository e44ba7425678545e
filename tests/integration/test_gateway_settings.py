"""What an operator can switch on: TLS and mutual TLS, metrics, traces, and a bound on unanswered bytes."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from circles.participation.v1 import participation_service_pb2 as messages
from circles.participation.v1.participation_service_pb2_grpc import ParticipationServiceStub
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.fakes.certificates import Authority, Files
from tests.gateways import Gateway, free_port, gateway, status_details
from tests.partners import Partner, attended, landed, new_partner
from tests.stacks import Stack, wait_until

pytestmark = pytest.mark.stack

BEHIND_KAFKA = 200
"""More batches than fit into a megabyte."""


def post(
    address: str,
    partner: Partner,
    events: list[Any],
    credentials: grpc.ChannelCredentials | None = None,
    timeout: float = 20,
) -> Any:
    with (
        grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    ) as channel:
        return ParticipationServiceStub(channel).PostParticipationEvents(
            messages.PostParticipationEventsRequest(events=events),
            metadata=(("authorization", f"Bearer {partner.key}"),),
            timeout=timeout,
        )


def trusting(authority: Authority, client: Files | None = None) -> grpc.ChannelCredentials:
    key, certificate = client.pair if client else (None, None)
    return grpc.ssl_channel_credentials(authority.certificate.read_bytes(), key, certificate)


def refused(address: str, partner: Partner, credentials: grpc.ChannelCredentials | None) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        post(address, partner, [attended()], credentials, timeout=10)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    return caught.value.details() or ""


def test_tls_and_a_certificate_that_is_changed_while_it_serves(stack: Stack, tmp_path: Path) -> None:
    partner = new_partner(stack, "tls")
    ours, foreign = Authority(tmp_path, "ours"), Authority(tmp_path, "foreign")
    served = ours.issue("gateway")
    files = {"tls_certificate_file": served.certificate, "tls_key_file": served.key}
    with gateway(stack, tmp_path, **files) as secure:
        assert post(secure.address, partner, [attended()], trusting(ours)).results
        assert "CERTIFICATE_VERIFY_FAILED" in refused(secure.address, partner, trusting(foreign))
        assert refused(secure.address, partner, None)
        _replace(served, foreign.issue("renewed"))
        wait_until(lambda: _serves(secure, partner, trusting(foreign)), "the new certificate")
        assert "CERTIFICATE_VERIFY_FAILED" in refused(secure.address, partner, trusting(ours))
        # A key that does not fit is not served with: half of a rotation, or a mistake.
        served.key.write_bytes(foreign.issue("another").key.read_bytes())
        assert post(secure.address, partner, [attended()], trusting(foreign)).results
        _replace(served, foreign.issue("expired", days=-1))
        assert post(secure.address, partner, [attended()], trusting(foreign)).results
        assert "has expired" in secure.log.read_text()


def test_mutual_tls_takes_certificates_of_one_authority_and_keys_as_well(
    stack: Stack, tmp_path: Path
) -> None:
    partner = new_partner(stack, "mutual-tls")
    ours, foreign = Authority(tmp_path, "ours"), Authority(tmp_path, "foreign")
    served = ours.issue("gateway")
    files = {
        "tls_certificate_file": served.certificate,
        "tls_key_file": served.key,
        "tls_client_ca_file": ours.certificate,
    }
    with gateway(stack, tmp_path, **files) as secure:
        mine = trusting(ours, ours.issue("partner"))
        assert post(secure.address, partner, [attended()], mine).results
        for credentials in (
            trusting(ours),
            trusting(ours, foreign.issue("stranger")),
            trusting(ours, ours.issue("former", days=-1)),
        ):
            print(refused(secure.address, partner, credentials))
        with pytest.raises(grpc.RpcError) as caught:
            post(secure.address, Partner(stack, partner.tenant_id, "ck_no"), [attended()], mine)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_an_expired_or_missing_certificate_ends_the_start_with_a_reason(stack: Stack, tmp_path: Path) -> None:
    expired = Authority(tmp_path, "ours").issue("expired", days=-1)
    files = {"tls_certificate_file": expired.certificate, "tls_key_file": expired.key}
    with gateway(stack, tmp_path, **files) as broken:
        assert broken.process.wait(60) == 1
        assert "has expired on" in broken.log.read_text()
    with gateway(stack, tmp_path, host="0.0.0.0") as open_to_all:  # noqa: S104  # refused before it is bound
        assert open_to_all.process.wait(60) == 1
        assert "only with TLS" in open_to_all.log.read_text()


def _replace(served: Files, renewed: Files) -> None:
    served.key.write_bytes(renewed.key.read_bytes())
    served.certificate.write_bytes(renewed.certificate.read_bytes())


def _serves(secure: Gateway, partner: Partner, credentials: grpc.ChannelCredentials) -> bool:
    with contextlib.suppress(grpc.RpcError):
        return bool(post(secure.address, partner, [attended()], credentials, timeout=5).results)
    return False


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans as an OpenTelemetry collector would."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def Export(self, request: Any, context: Any) -> Any:  # the name of the RPC
        self.received.append(request.SerializeToString())
        return trace_service_pb2.ExportTraceServiceResponse()


@contextlib.contextmanager
def collector() -> Iterator[tuple[Collector, str]]:
    server, taken = grpc.server(futures.ThreadPoolExecutor(2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(taken, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield taken, f"http://127.0.0.1:{port}"
    finally:
        server.stop(0)


def test_metrics_and_traces_have_counts_and_no_identifiers(stack: Stack, tmp_path: Path) -> None:
    partner = new_partner(stack, "observed")
    event = attended(group="tell-tale-group", person="tell-tale-person")
    bad = attended(person="Jane Doe")
    with collector() as (taken, endpoint):
        port = free_port()
        with gateway(stack, tmp_path, metrics_port=port, traces_endpoint=endpoint) as observed:
            post(observed.address, partner, [event, bad])
            with pytest.raises(grpc.RpcError):
                post(observed.address, partner, [])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
                metrics = page.read().decode()
        wait_until(lambda: bool(taken.received), "spans")
    traces = b"".join(taken.received)
    assert 'circles_ingestion_events_total{domain="participation",status="accepted"} 1.0' in metrics
    assert 'circles_ingestion_events_total{domain="participation",status="refused"} 1.0' in metrics
    assert 'circles_ingestion_failed_calls_total{domain="participation",reason="BATCH_SIZE"} 1.0' in metrics
    assert b"circles.participation.v1.ParticipationService/post" in traces
    for told in (metrics.encode(), traces):
        for secret in ("tell-tale", "Jane", partner.tenant_id, partner.key, event.event_id):
            assert secret.encode() not in told, secret


def test_with_kafka_slow_the_gateway_holds_a_bounded_amount_and_acknowledges_nothing(
    stack: Stack, tmp_path: Path
) -> None:
    partner = new_partner(stack, "slow-kafka")
    with gateway(stack, tmp_path, max_bytes_in_flight=4_200_000, kafka_timeout_seconds=30) as bounded:
        post(bounded.address, partner, [attended()])
        pid = stack.pid("kafka")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            answers = _post_many(bounded.address, partner)
        finally:
            os.kill(pid, signal.SIGCONT)
        for each in answers:
            each.join()
        codes = {each.code for each in answers}
        assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
        accepted = sum(each.code == grpc.StatusCode.OK for each in answers)
        assert not any(each.code == grpc.StatusCode.OK and each.was_stopped for each in answers)
    wait_until(lambda: landed(partner.tenant_id) >= 1 + accepted * 500, "what was acknowledged")


class _Call(threading.Thread):
    """One large batch."""

    def __init__(self, address: str, partner: Partner, stopped: threading.Event) -> None:
        super().__init__()
        self.events = [attended(person=f"{time.time_ns()}-{i}") for i in range(500)]
        self.address, self.partner, self.stopped = address, partner, stopped
        self.code: grpc.StatusCode | None = None
        self.was_stopped = False
        self.reason = ""

    def run(self) -> None:
        try:
            post(self.address, self.partner, self.events, timeout=60)
            self.code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            self.code = error.code()
            if self.code == grpc.StatusCode.RESOURCE_EXHAUSTED:
                found: Any = status_details(error)["ErrorInfo"]
                self.reason = found.reason
        self.was_stopped = self.stopped.is_set()


def _post_many(address: str, partner: Partner) -> list[_Call]:
    """Calls until some are refused for want of room, with Kafka stopped all the time."""
    stopped = threading.Event()
    stopped.set()
    calls = [_Call(address, partner, stopped) for _ in range(BEHIND_KAFKA)]
    for each in calls:
        each.start()
    wait_until(lambda: any(each.reason == "GATEWAY_BUSY" for each in calls), "a refusal")
    stopped.clear()
    return calls

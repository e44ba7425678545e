"""The client against a gateway that does what a script says: batches, streams, repeats, errors, TLS."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from circles.client import (
    BatchRefused,
    Client,
    ClientClosed,
    Event,
    GatewayAway,
    NotAuthenticated,
    Tls,
    events,
)
from circles.studies.v1.study_event_pb2 import STUDY_DESIGN_COHORT
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.client.channel import is_loopback
from services.client.patience import Patience
from services.client.posting import BATCH_BYTES, BATCH_EVENTS, batches
from tests.fakes.gateway import Batch, FakeGateway, end, fail, fine, hang, slow

AT = datetime(2026, 3, 2, 18, 5, tzinfo=UTC)
PARTICIPATION = "circles.participation.v1.ParticipationService"
AWAY = grpc.StatusCode.UNAVAILABLE


def joined(count: int, participant: str = "p") -> list[Event]:
    return [events.member_joined(group="g", participant=participant, at=AT) for _ in range(count)]


def client(gateway: FakeGateway, **options: Any) -> Client:
    return Client(gateway.address, "ck_key", **{"patience_seconds": 30, **options})


def ids(posted: list[Event]) -> list[str]:
    return [event.event_id for event in posted]


def arrived(gateway: FakeGateway, service: str = PARTICIPATION) -> list[Batch]:
    return [batch for batch in gateway.received if batch.service == service]


def first_arrivals(received: list[Batch]) -> list[str]:
    """Ids in the order in which they came first."""
    return list(dict.fromkeys(itertools.chain.from_iterable(batch.event_ids for batch in received)))


@pytest.fixture(params=[True, False], ids=["streams", "calls"])
def streaming(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_it_needs_grpcio_and_protobuf_only() -> None:
    """In a process that has nothing else; what the stubs and the SDK are made of lies in this repository."""
    program = """
import sys

class NothingElse:
    folders = ("circles", "services.client", "buf", "grpc", "google.protobuf", "typing_extensions")

    def find_spec(self, name, path=None, target=None):
        known = name in ("services", "google") or any(f"{name}.".startswith(f"{f}.") for f in self.folders)
        if not known and name.partition(".")[0] not in sys.stdlib_module_names:
            raise ImportError(f"{name} is none of grpcio, protobuf and what they require")

sys.meta_path.insert(0, NothingElse())
import circles.client
assert not {"yaml", "pydantic", "kafka", "cryptography", "google.rpc"} & sys.modules.keys()
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_one_batch_is_a_call_and_several_are_a_stream() -> None:
    with FakeGateway() as gateway, client(gateway) as ours:
        ours.post(joined(BATCH_EVENTS))
        ours.post(joined(BATCH_EVENTS + 1))
        ours.post(joined(1))
        ours.post([])
    assert [(batch.sequence, len(batch.event_ids)) for batch in gateway.received] == [
        (0, 500), (1, 500), (2, 1), (0, 1)
    ]  # fmt: skip


def test_every_answer_is_counted_once(streaming: bool) -> None:
    known = joined(3)
    changed = [events.member_left(group="g", participant="p", at=AT, event_id=known[0].event_id)]
    mixed = [*joined(2), *joined(4, "late"), *joined(5, "deferred"), *joined(6, "wrong"), *known, *changed]
    counts: list[int] = []
    with FakeGateway() as gateway, client(gateway, streaming=streaming) as ours:
        assert ours.post(known).count_accepted == 3
        summary = ours.post([*mixed, *joined(1000)], counts.append)
    assert summary.count_accepted == 1006
    assert summary.count_late == 4
    assert summary.count_deferred == 5
    assert summary.count_duplicates == 3
    assert summary.count_acknowledged == 1014
    assert ids([event for event, _ in summary.refused]) == ids([*mixed[11:17], *changed])
    assert summary.refused[0].result.violations[0].rule == "an opaque reference"
    assert sum(counts) == len(mixed) + 1000


def test_services_get_their_events_in_order() -> None:
    posted: list[Event] = []
    for i in range(2500):
        posted += joined(1)
        if i % 3 == 0:
            posted.append(events.arm_allocated(participant="p", study="s", arm="a", at=AT))
    posted.append(events.group_closed(group="g", at=AT))
    posted.append(events.study_registered(study="s", design=STUDY_DESIGN_COHORT, at=AT))
    with FakeGateway(fine(), fail(AWAY), fine(), fine(), end()) as gateway, client(gateway) as ours:
        assert ours.post(posted).count_acknowledged == len(posted)
    assert len({batch.service for batch in gateway.received}) == 4
    for service in {batch.service for batch in gateway.received}:
        came = first_arrivals(arrived(gateway, service))
        assert came == [event_id for event_id in ids(posted) if event_id in set(came)]
        sequences = [batch.sequence for batch in arrived(gateway, service)]
        assert sorted(set(sequences)) == list(range(1, max(sequences) + 1))


@pytest.mark.parametrize("step", [fail(AWAY), fail(grpc.StatusCode.INTERNAL), end()])
def test_a_broken_stream_goes_on_with_the_first_unanswered_batch(step: Any) -> None:
    posted = joined(5 * BATCH_EVENTS)
    with FakeGateway(fine(), fine(), step) as gateway, client(gateway) as ours:
        assert ours.post(posted).count_accepted == len(posted)
    assert [batch.sequence for batch in gateway.received] == [1, 2, 3, 3, 4, 5]
    assert first_arrivals(gateway.received) == ids(posted)


def test_a_lost_answer_makes_duplicates(streaming: bool) -> None:
    posted = joined(3 * BATCH_EVENTS)
    with FakeGateway(fail(AWAY, is_stored=True)) as gateway, client(gateway, streaming=streaming) as ours:
        summary = ours.post(posted)
    assert summary.count_acknowledged == len(posted)
    assert summary.count_duplicates == BATCH_EVENTS
    assert not summary.refused


def test_a_gateway_that_is_started_again_gets_everything(streaming: bool) -> None:
    posted = joined(20 * BATCH_EVENTS)
    with FakeGateway() as gateway, client(gateway, streaming=streaming) as ours:
        answered = itertools.count(1)

        def restart_twice(_: int) -> None:
            if next(answered) in (3, 9):
                gateway.restart()

        assert ours.post(posted, restart_twice).count_acknowledged == len(posted)
    assert gateway.stored.keys() == set(ids(posted))
    if streaming:
        assert first_arrivals(gateway.received) == ids(posted)


def test_no_more_than_the_window_is_unanswered() -> None:
    posted = joined(12 * BATCH_EVENTS)
    with FakeGateway(*[slow() for _ in range(12)], window=3) as gateway, client(gateway) as ours:
        assert ours.post(posted).count_accepted == len(posted)
    assert gateway.most_unanswered == 3


def test_an_answer_that_does_not_come_is_asked_for_again(streaming: bool) -> None:
    posted = joined(2 * BATCH_EVENTS)
    with (
        FakeGateway(fine(), hang()) as gateway,
        client(gateway, streaming=streaming, call_seconds=0.5) as ours,
    ):
        assert ours.post(posted).count_acknowledged == len(posted)
    assert len(gateway.received) == 3


def test_a_call_waits_as_long_as_the_gateway_asks() -> None:
    """An hour is beyond any patience here: it ends at once, which shows that the trailer was read."""
    busy = grpc.StatusCode.RESOURCE_EXHAUSTED
    with FakeGateway(fail(busy, "too many calls", "20"), fail(busy, "later", "3600000")) as gateway:
        with client(gateway) as ours, pytest.raises(GatewayAway, match=r"RESOURCE_EXHAUSTED: later.*again"):
            ours.post(joined(1))
        assert len(gateway.received) == 2


@pytest.mark.parametrize("pushback", ["-1", "soon"])
def test_a_gateway_that_wants_no_repeat_gets_none(pushback: str) -> None:
    with FakeGateway(fail(AWAY, "closing down", pushback)) as gateway:
        with client(gateway) as ours, pytest.raises(GatewayAway, match="closing down"):
            ours.post(joined(1))
        assert len(gateway.received) == 1


class Failure(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return AWAY

    def details(self) -> str:
        return ""

    def trailing_metadata(self) -> Any:
        return ()


def test_pauses_grow_and_begin_anew_after_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()
    pauses: list[float] = []
    monkeypatch.setattr(closed, "wait", pauses.append)
    patience = Patience("here", 1000, closed)
    for _ in range(9):
        patience.wait(Failure())
    assert pauses[0] <= 0.4 and all(pause >= 2.5 for pause in pauses[5:]) and max(pauses) <= 5.0
    patience.answered()
    patience.wait(None)
    assert pauses[-1] <= 0.4


def test_a_wrong_key_stops_at_once(streaming: bool) -> None:
    step = fail(grpc.StatusCode.UNAUTHENTICATED, "No valid API key")
    with FakeGateway(*[step] * 30) as gateway, client(gateway, streaming=streaming) as ours:
        with pytest.raises(NotAuthenticated, match=r"No valid API key.*Ask the operator"):
            ours.post(joined(20 * BATCH_EVENTS))
        assert not gateway.stored


def test_a_refused_batch_stops_at_once_in_the_gateways_words(streaming: bool) -> None:
    step = fail(grpc.StatusCode.INVALID_ARGUMENT, "events: 500 in the batch; from 1 to 100 allowed")
    with (
        FakeGateway(step) as gateway,
        client(gateway, streaming=streaming) as ours,
        pytest.raises(BatchRefused, match=r"INVALID_ARGUMENT: events: 500 .* not help"),
    ):
        ours.post(joined(BATCH_EVENTS + 1))


def test_a_gateway_that_stays_away_ends_patience(streaming: bool) -> None:
    with FakeGateway() as gateway:
        gateway.stop()
        with (
            client(gateway, streaming=streaming, patience_seconds=1) as ours,
            pytest.raises(GatewayAway, match=r"\(UNAVAILABLE: .* of 1 s ends.*same event_ids"),
        ):
            ours.post(joined(BATCH_EVENTS + 1))


def test_closing_ends_what_another_thread_is_posting(streaming: bool) -> None:
    caught: list[BaseException] = []
    with FakeGateway(fine(), hang(), hang()) as gateway:
        ours = client(gateway, streaming=streaming)

        def post() -> None:
            with pytest.raises(ClientClosed) as info:
                ours.post(joined(2 * BATCH_EVENTS))
            caught.append(info.value)

        thread = threading.Thread(target=post)
        thread.start()
        while len(gateway.received) < 2:
            time.sleep(0.01)
        ours.close()
        ours.close()
        thread.join()
        assert caught
        with pytest.raises(ClientClosed):
            ours.post(joined(1))


def test_closing_ends_a_pause(streaming: bool) -> None:
    with FakeGateway(fail(AWAY, "", "20000")) as gateway:
        ours = client(gateway, streaming=streaming)
        threading.Timer(0.5, ours.close).start()
        with pytest.raises(ClientClosed):
            ours.post(joined(2 * BATCH_EVENTS))


def test_a_batch_fits_in_a_message() -> None:
    features = {f"feature-{i:03d}-{'x' * 30}": float(i) for i in range(200)}
    large: list[Event] = [
        events.text_features_measured(
            group="g", participant="p", act="a", dictionary="d", features=features, at=AT
        )
        for _ in range(700)
    ]
    cut = list(batches(large))
    assert len(cut) > 2
    assert ids([event for batch in cut for event in batch]) == ids(large)
    assert all(sum(event.ByteSize() for event in batch) <= BATCH_BYTES for batch in cut)
    with FakeGateway() as gateway, client(gateway) as ours:
        assert ours.post(large).count_accepted == len(large)


def test_an_event_that_fits_in_no_message_is_named() -> None:
    event = events.thread_read(group="g", participant="p", thread="t" * BATCH_BYTES, at=AT)
    with FakeGateway() as gateway, client(gateway) as ours, pytest.raises(ValueError, match=event.event_id):
        ours.post([event])


def test_a_key_from_a_file_ends_with_a_newline() -> None:
    with FakeGateway() as gateway:
        with Client(gateway.address, "ck_key\n") as ours:
            ours.post(joined(1))
        assert gateway.keys == {"Bearer ck_key"}


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("127.0.0.1:15051", True),
        ("127.1.2.3", True),
        ("localhost:1", True),
        ("[::1]:15051", True),
        ("ipv4:127.0.0.1:1", True),
        ("dns:///localhost:1", True),
        ("unix:/run/circles.sock", True),
        ("circles.example:443", False),
        ("10.0.0.1:15051", False),
        ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("localhost.example:1", False),
        ("0.0.0.0:15051", False),
    ],
)
def test_plaintext_stays_on_the_machine(address: str, stays: bool) -> None:
    assert is_loopback(address) == stays
    Client(address, "ck_key", plaintext=True).close()
    if stays:
        Client(address, "ck_key").close()
    else:
        with pytest.raises(ValueError, match=r"not on this machine.*tls=.*plaintext=True"):
            Client(address, "ck_key")


def test_tls_is_told_once() -> None:
    with pytest.raises(ValueError, match="together"):
        Tls(certificate="mine.pem")
    with pytest.raises(ValueError, match="exclude"):
        Client("circles.example:443", "ck_key", tls=Tls(), plaintext=True)


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `certificate.pem`, which signs itself for 127.0.0.1, and `key.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uuid.uuid4().hex)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("pems")
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder


@pytest.fixture
def guarded(pems: Path) -> Iterator[FakeGateway]:
    """A gateway that wants to see a certificate."""
    key, certificate = (pems / "key.pem").read_bytes(), (pems / "certificate.pem").read_bytes()
    credentials = grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)
    with FakeGateway(credentials=credentials) as gateway:
        yield gateway


def test_both_sides_show_a_certificate(guarded: FakeGateway, pems: Path) -> None:
    tls = Tls(ca=pems / "certificate.pem", certificate=pems / "certificate.pem", private_key=pems / "key.pem")
    with client(guarded, tls=tls) as ours:
        assert ours.post(joined(BATCH_EVENTS + 1)).count_accepted == BATCH_EVENTS + 1


@pytest.mark.parametrize("names_ca", [True, False], ids=["no certificate of our own", "another authority"])
def test_whoever_cannot_be_trusted_gets_nothing(guarded: FakeGateway, pems: Path, names_ca: bool) -> None:
    tls = Tls(ca=pems / "certificate.pem") if names_ca else Tls()
    with client(guarded, tls=tls, patience_seconds=1) as ours, pytest.raises(GatewayAway):
        ours.post(joined(1))
    assert not guarded.received

"""The spool: whatever `put` returned for is there after any crash, in order and once, until acknowledged."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import grpc
import pytest
from circles.client import (
    Client,
    ClientClosed,
    Event,
    GatewayAway,
    Spool,
    SpoolDamaged,
    SpoolFull,
    SpoolInUse,
    events,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.client.spooled import TYPES, decoded, encoded
from tests.fakes.gateway import FakeGateway, fail, fine

AT = datetime(2026, 3, 2, 18, 5, tzinfo=UTC)
MAX_BYTES = 600
EVERYTHING = 10**9

some_records = st.lists(st.binary(max_size=60), max_size=6)


def framed_size(records: list[bytes]) -> int:
    return sum(8 + len(record) for record in records)


class SpoolHistory(RuleBasedStateMachine):
    """Any history of puts, acknowledgements and crashes, next to a list that does the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.spool = Spool(self.folder, max_bytes=MAX_BYTES)
        self.expected: list[bytes] = []

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)

    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool(self.folder, max_bytes=MAX_BYTES)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.records"))

    @rule(records=some_records)
    def put(self, records: list[bytes]) -> None:
        used = sum(path.stat().st_size for path in self.files())
        if used + framed_size(records) > MAX_BYTES:
            with pytest.raises(SpoolFull, match=f"{used} of at most {MAX_BYTES} bytes"):
                self.spool.put(records)
        else:
            self.spool.put(records)
            self.expected += records

    @rule(count=st.integers(1, 10))
    def acknowledge(self, count: int) -> None:
        records, place = self.spool.read(count, EVERYTHING)
        assert records == self.expected[:count]
        self.spool.acknowledge(place)
        del self.expected[:count]

    @rule(count=st.integers(1, 10))
    def die_before_removing_what_was_acknowledged(self, count: int) -> None:
        _, place = self.spool.read(count, EVERYTHING)
        (self.folder / "acknowledged").write_text(str(place))
        del self.expected[:count]
        self.reopen()

    @rule()
    def die(self) -> None:
        self.reopen()

    @rule(records=some_records, share=st.floats(0, 1), rest=st.sampled_from([b"", b"\0", b"\xff"]))
    def die_in_a_put(self, records: list[bytes], share: float, rest: bytes) -> None:
        """Any number of bytes is there; what is not may be missing, or read as zeros or as rubbish."""
        whole = {path: path.stat().st_size for path in self.files()}
        try:
            self.spool.put(records)
        except SpoolFull:
            return
        last = self.files()[-1]
        before, data = whole.get(last, 0), last.read_bytes()
        cut = before + round(share * (len(data) - before))
        torn = data[:cut] + rest * (len(data) - cut)
        last.write_bytes(torn)
        same = list(takewhile(lambda pair: pair[0] == pair[1], zip(data, torn, strict=False)))
        intact = len(same) - before
        while framed_size(records) > intact:
            records = records[:-1]
        self.expected += records
        self.reopen()

    @invariant()
    def everything_is_there(self) -> None:
        assert self.spool.read(1000, EVERYTHING)[0] == self.expected
        assert (self.spool.end > self.spool.acknowledged) == bool(self.expected)
        assert sum(path.stat().st_size for path in self.files()) <= MAX_BYTES


TestSpoolHistory = SpoolHistory.TestCase
TestSpoolHistory.settings = settings(max_examples=50, deadline=None)  # each put waits for the disk


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", max_bytes=10_000_000)


def joined(count: int, participant: str = "p") -> list[Event]:
    return [events.member_joined(group="g", participant=participant, at=AT) for _ in range(count)]


def client(gateway: FakeGateway, spool: Spool, **options: Any) -> Client:
    return Client(gateway.address, "ck_key", spool=spool, **{"patience_seconds": 30, **options})


def spooled(spool: Spool) -> list[Event]:
    return [decoded(record) for record in spool.read(EVERYTHING, EVERYTHING)[0]]


def test_every_event_that_enqueue_returned_for_survives_kill_9(tmp_path: Path) -> None:
    program = """
import sys
from datetime import UTC, datetime
from circles.client import Client, Spool, events

with Client("127.0.0.1:1", "ck_key", spool=Spool(sys.argv[1], max_bytes=10**8)) as client:
    while True:
        some = [events.member_joined(group="g", participant="p", at=datetime.now(UTC)) for _ in range(7)]
        client.enqueue(some)
        print(*(event.event_id for event in some), flush=True)
"""
    returned: list[str] = []
    for _ in range(3):
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(40):
                returned += process.stdout.readline().split()
            process.kill()
            returned += process.stdout.read().split()  # a line that kill -9 cut is no event's id
        assert process.returncode == -signal.SIGKILL
    with Spool(tmp_path, max_bytes=10**8) as spool:
        found = [event.event_id for event in spooled(spool)]
    assert len(found) == len(set(found))
    missing = {event_id for event_id in returned if len(event_id) == 36} - set(found)
    assert not missing
    assert [event_id for event_id in found if event_id in set(returned)] == [
        event_id for event_id in returned if len(event_id) == 36
    ]


def test_only_its_owner_may_read_it(spool: Spool) -> None:
    spool.folder.chmod(0o755)
    spool.close()
    with Spool(spool.folder, max_bytes=1000) as again:
        again.put([b"record"])
        again.note_refused(["line"])
        again.acknowledge(again.end)
    assert spool.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in spool.folder.iterdir()} == {0o600}


def test_it_belongs_to_one_process(spool: Spool) -> None:
    program = "import sys; from circles.client import Spool; Spool(sys.argv[1], max_bytes=1)"
    command = [sys.executable, "-c", program, str(spool.folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "SpoolInUse" in result.stderr and "one client of one process" in result.stderr
    with pytest.raises(SpoolInUse):
        Spool(spool.folder, max_bytes=1)
    spool.close()
    assert subprocess.run(command, check=False).returncode == 0


def test_a_forked_process_opens_its_own(tmp_path: Path) -> None:
    program = """
import os, sys
from circles.client import Spool, SpoolInUse
spool = Spool(sys.argv[1], max_bytes=1000)
child = os.fork()
try:
    spool.put([b"record"])
except SpoolInUse:
    os._exit(3 if child == 0 else 4)
if child:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
else:
    os._exit(0)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_a_full_spool_stores_nothing_and_says_so(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=1000)
    spool.put([b"x" * 400])
    with pytest.raises(SpoolFull, match=r"none of these events was stored\. Flush it"):
        spool.put([b"y" * 100, b"z" * 600])
    spool.note_refused(["l" * 500])
    with pytest.raises(SpoolFull, match=r"501 of them in refused\.jsonl"):
        spool.put([b"z" * 100])
    assert spool.read(9, EVERYTHING)[0] == [b"x" * 400]
    spool.acknowledge(spool.end)
    spool.put([b"z" * 100])


def test_what_the_disk_did_not_take_leaves_no_trace(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.put([b"before"])

    def broken(_: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="no space"):
            spool.put([b"lost", b"lost too"])
    spool.put([b"after"])
    spool.close()
    again = Spool(spool.folder, max_bytes=1000)
    assert again.read(9, EVERYTHING)[0] == [b"before", b"after"]


def several_segments(folder: Path) -> list[Path]:
    with Spool(folder, max_bytes=1000) as spool:
        for i in range(6):
            spool.put([bytes([i]) * 100])
    return sorted(folder.glob("*.records"))


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    path = several_segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[50] ^= 1
    path.write_bytes(data)
    with Spool(tmp_path, max_bytes=1000) as spool, pytest.raises(SpoolDamaged, match=path.name):
        spool.read(9, EVERYTHING)


@pytest.mark.parametrize("number", [0, 1])
def test_a_missing_segment_is_found(tmp_path: Path, number: int) -> None:
    path = several_segments(tmp_path)[number]
    (tmp_path / "acknowledged").write_text("0")
    path.unlink()
    with pytest.raises(SpoolDamaged):
        Spool(tmp_path, max_bytes=1000)


def test_without_the_acknowledged_place_everything_is_posted_again(tmp_path: Path) -> None:
    with Spool(tmp_path, max_bytes=1000) as spool:
        spool.put([b"x", b"y"])
        spool.acknowledge(spool.read(1, EVERYTHING)[1])
    (tmp_path / "acknowledged").unlink()
    with Spool(tmp_path, max_bytes=1000) as spool:
        assert spool.read(9, EVERYTHING)[0] == [b"x", b"y"]


def test_a_line_that_a_crash_cut_stands_alone(spool: Spool) -> None:
    spool.note_refused(["one", "two"])
    spool.refused_path.write_text("one\ntw")
    spool.note_refused(["three"])
    assert spool.refused_path.read_text() == "one\ntw\nthree\n"


@pytest.mark.parametrize("event_type", TYPES.values())
def test_an_event_is_the_same_after_the_spool(event_type: type[Event]) -> None:
    event = event_type(event_id="00000000-0000-4000-8000-000000000001")
    assert decoded(encoded(event)) == event


def test_an_event_of_a_newer_sdk_is_not_guessed() -> None:
    with pytest.raises(SpoolDamaged, match="newer"):
        decoded(b"\xffwhatever")


def test_what_is_enqueued_is_posted_in_order_and_removed(spool: Spool) -> None:
    posted = joined(1200)
    counts: list[int] = []
    with FakeGateway() as gateway, client(gateway, spool) as ours:
        assert ours.enqueue(posted[:700]) == 700
        assert ours.enqueue(iter(posted[700:])) == 500
        assert not gateway.received
        summary = ours.flush(counts.append)
        assert summary.count_accepted == sum(counts) == 1200
        assert list(gateway.stored) == [event.event_id for event in posted]
        assert ours.flush().count_acknowledged == 0
    assert [path.stat().st_size for path in spool.folder.glob("*.records")] == [0]


def test_a_gateway_that_is_away_leaves_everything(spool: Spool) -> None:
    posted = joined(1200)
    with FakeGateway() as gateway:
        gateway.stop()
        with client(gateway, spool, patience_seconds=0.5) as ours:
            ours.enqueue(posted)
            with pytest.raises(GatewayAway):
                ours.flush()
    with FakeGateway() as gateway, client(gateway, Spool(spool.folder, max_bytes=10_000_000)) as ours:
        assert ours.flush().count_accepted == 1200
        assert list(gateway.stored) == [event.event_id for event in posted]


def test_a_flush_that_broke_off_is_repeated(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds that were finished are not posted again; of the one under way copies count once."""
    monkeypatch.setattr("services.client.client.ROUND_EVENTS", 1000)
    steps = [*[fine()] * 3, fail(grpc.StatusCode.UNAVAILABLE, "", "-1")]
    with FakeGateway(*steps) as gateway, client(gateway, spool) as ours:
        ours.enqueue(joined(2500))
        with pytest.raises(GatewayAway):
            ours.flush()
        assert len(spooled(spool)) == 1500
        summary = ours.flush()
    assert (summary.count_accepted, summary.count_duplicates) == (1000, 500)


def test_refused_events_do_not_stop_the_others(spool: Spool) -> None:
    wrong = joined(2, "wrong.jane@example.org")
    with FakeGateway() as gateway, client(gateway, spool) as ours:
        ours.enqueue([*joined(10), *wrong, *joined(10)])
        summary = ours.flush()
    assert summary.count_accepted == 20
    assert [event.event_id for event, _ in summary.refused] == [event.event_id for event in wrong]
    lines = [json.loads(line) for line in spool.refused_path.read_text().splitlines()]
    assert lines == [
        {
            "event_id": event.event_id,
            "event": "ParticipationEvent",
            "kind": "member_joined",
            "status": "EVENT_STATUS_REFUSED",
            "violations": [{"field": "participant_ref", "rule": "an opaque reference"}],
        }
        for event in wrong
    ]


def test_events_may_be_enqueued_while_others_are_flushed(spool: Spool) -> None:
    with FakeGateway() as gateway, client(gateway, spool) as ours:
        ours.enqueue(joined(1200))
        first = ours.flush(lambda count: ours.enqueue(joined(count)))
        assert first.count_accepted == 1200
        assert ours.flush().count_accepted == 1200


def test_a_closed_client_takes_no_more(spool: Spool) -> None:
    with FakeGateway() as gateway:
        with client(gateway, spool) as ours:
            ours.enqueue(joined(1))
        with pytest.raises(ClientClosed):
            ours.enqueue(joined(1))
        with pytest.raises(ClientClosed):
            ours.flush()
        with Spool(spool.folder, max_bytes=1000) as again:
            assert len(spooled(again)) == 1


def test_a_client_without_a_spool_says_so() -> None:
    with Client("127.0.0.1:1", "ck_key") as ours, pytest.raises(ValueError, match="spool=Spool"):
        ours.enqueue(joined(1))

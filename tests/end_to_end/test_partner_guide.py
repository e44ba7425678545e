"""The partner's guide followed word for word, as a new partner follows it: in Python, grpcurl and Node.js.

Every block of the guide that is a command or a program is run, in one shell and in the guide's order, and
what the guide shows is what comes. The same contract is so used from three languages. Which addresses and
files a reader has is theirs: the lines `export NAME=…` of the guide get ours.
"""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from os import kill, pathsep
from pathlib import Path
from typing import Any

import grpc
import pytest
from circles.common.v1.common_pb2 import EVENT_STATUS_ACCEPTED, EventStatus
from circles.participation.v1.participation_service_pb2 import PostParticipationEventsRequest
from circles.participation.v1.participation_service_pb2_grpc import ParticipationServiceStub

from services.ingestion import errors
from services.ingestion.doors import doors
from services.ingestion.keys import Limits, set_limits
from services.ingestion.rules import MAX_FUTURE_SECONDS
from services.runtime.postgres import connect
from services.runtime.settings import IngestionSettings, PostgresSettings
from tests.fakes.certificates import Authority
from tests.gateways import gateway
from tests.guides import Block, Shell, blocks, is_as_shown, with_values
from tests.partners import Partner, attended, lake_rows, new_partner
from tests.stacks import Stack, wait_until
from tests.tools import missing, require

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "partner.md").read_text()
BLOCKS = blocks(GUIDE)
TENANT = "your-service-trial"
"""The guide's own tenant. It gets a name that no other test has."""

GRPCURL = "grpcurl -plaintext -expand-headers -H 'authorization: Bearer ${KEY}'"
POST = "circles.participation.v1.ParticipationService/PostParticipationEvents"
PROGRAMS = ("python", "js")
INSTALLING = ("python3 -m venv", "go install", "npm install")


@dataclass(frozen=True)
class Section:
    """What it takes to follow a section, and how many events are in Kafka afterwards."""

    after: tuple[str, ...] = ("A key",)
    tools: Mapping[str, str] = field(default_factory=dict)
    events: int = 0
    deferred: int = 0


GO = {"go": "grpcurl is installed with it"}
NODE = {"node": "a partner's programs in JavaScript", "npm": "gRPC for Node.js is installed with it"}
SECTIONS = {
    "": Section(after=()),
    "A key": Section(after=("",)),
    "Python": Section(events=1),
    "grpcurl": Section(tools=GO, events=1),
    "Node.js": Section(tools=NODE, events=1 + 1200),
    "What an error means": Section(after=("grpcurl",)),
    "Streams": Section(after=("grpcurl",), events=2),
    "Rules": Section(after=("Python",), events=5, deferred=1),
    "When nothing may be lost": Section(after=("Python",), events=1),
    "TLS": Section(after=("Python", "grpcurl", "Node.js"), events=3),
    "A new key": Section(after=("grpcurl",)),
    "Reading figures back": Section(after=("Python",)),
}


@dataclass
class Reader(Shell):
    """Somebody with a shell, a folder and the guide."""

    values: dict[str, str]
    """Of the variables that the guide introduces."""
    tenant_id: str
    begun: set[str] = field(default_factory=set)
    followed: list[str] = field(default_factory=list)

    def follow(self, name: str) -> None:
        """Does what a section says, once, after what it builds upon."""
        if name in self.followed:
            return
        if name in self.begun:
            missing(f"the section {name!r} of the guide did not work out")
        self.begun.add(name)
        for earlier in SECTIONS[name].after:
            self.follow(earlier)
        for tool, reason in SECTIONS[name].tools.items():
            require(tool, reason)
        for block in BLOCKS:
            if block.section == name:
                self._do(block)
        self.followed.append(name)

    def post(self, partner: Partner, event: str, options: str = "") -> str:
        """What grpcurl says to one participation event, given as JSON, of a partner of the test's own."""
        request = shlex.quote(f'{{"events": [{event}]}}')
        command = f"{GRPCURL} {options} -d {request} {partner.address} {POST}"
        return self.run(f"KEY={partner.key} {command}").stdout

    def _do(self, block: Block) -> None:
        text = self._with_values(block.text)
        if block.language in PROGRAMS:
            (self.folder / block.file_name).write_text(text)
            return
        result = self.run(text)
        if result.returncode != 0 and text.startswith(INSTALLING):
            missing(f"this did not work, for want of a network?\n{text}{result.stdout[-2000:]}")
        assert (result.returncode != 0) == block.shown.startswith("ERROR:"), f"{text}\n{result.stdout}"
        assert is_as_shown(result.stdout, block.shown), f"{text}\n{result.stdout}\nand not\n{block.shown}"

    def _with_values(self, text: str) -> str:
        return with_values(text, self.values).replace(TENANT, self.tenant_id)


@pytest.fixture(scope="module")
def reader(
    stack: Stack,
    bare_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> Reader:
    folder = tmp_path_factory.mktemp("partner")
    # Go needs minutes to build grpcurl for the first time: it stays where pytest keeps things.
    programs = pytestconfig.cache.mkdir("go-programs")
    path = (str(programs), str(Path(sys.executable).parent), bare_environment["PATH"])
    partner = new_partner(stack, "guide")
    environment = {
        **bare_environment,
        "CIRCLES_HOME": str(stack.home),
        "GOBIN": str(programs),
        "NODE_NO_WARNINGS": "1",  # that a certificate is for an address and not for a name, as only here
        "PATH": pathsep.join(path),
    }
    values = {"CIRCLES": str(ROOT), "ADDRESS": partner.address}
    return Reader(folder, environment, values, partner.tenant_id)


def test_every_block_of_the_guide_is_run() -> None:
    """No section with code is left out, and no program stands there that no command runs."""
    assert list(dict.fromkeys(block.section for block in BLOCKS)) == list(SECTIONS)
    assert {block.language for block in BLOCKS} == {"sh", *PROGRAMS}
    assert not [block.text for block in BLOCKS if block.language in PROGRAMS and block.shown]
    commands = "".join(block.text for block in BLOCKS if block.language == "sh")
    for program in (block for block in BLOCKS if block.language in PROGRAMS):
        imported = any(f'"./{program.file_name}"' in other.text for other in BLOCKS)
        assert imported or f" {program.file_name}" in commands, program.file_name


@pytest.mark.stack
@pytest.mark.parametrize("section", [name for name in SECTIONS if name not in ("", "TLS")])
def test_what_the_guide_shows_is_what_comes(reader: Reader, section: str) -> None:
    """From the key to answers: each in the guide's words, with status, field, value, rule and reason."""
    reader.follow(section)


@pytest.fixture
def guarded(stack: Stack, reader: Reader, tmp_path: Path) -> Iterator[None]:
    """A gateway that wants to see certificates; the reader has one."""
    authority = Authority(tmp_path, "authority")
    its, ours = authority.issue("gateway"), authority.issue("partner")
    settings = {
        "tls_certificate_file": its.certificate,
        "tls_key_file": its.key,
        "tls_client_ca_file": authority.certificate,
    }
    with gateway(stack, tmp_path, **settings) as found:
        reader.values |= {
            "TLS_ADDRESS": found.address,
            "TLS_CA": str(authority.certificate),
            "TLS_CERTIFICATE": str(ours.certificate),
            "TLS_KEY": str(ours.key),
        }
        yield


@pytest.mark.stack
def test_tls_is_as_the_guide_says(reader: Reader, guarded: None) -> None:
    """SDK, grpcurl and Node.js show their certificate to a gateway that insists on one."""
    reader.follow("TLS")


@pytest.mark.stack
def test_whatever_was_acknowledged_has_landed_once(reader: Reader) -> None:
    """Of the sections that this run has followed: as many events as their answers said, and no more."""
    followed = [SECTIONS[name] for name in reader.followed]
    expected = (sum(each.events for each in followed), sum(each.deferred for each in followed))

    def landed() -> tuple[int, int]:
        events, failed = (
            lake_rows(f"SELECT count(DISTINCT event_id) FROM ({rows}) WHERE tenant_id = ?", reader.tenant_id)
            for rows in (
                "SELECT tenant_id, event_id FROM raw.participation_events "
                "UNION ALL SELECT tenant_id, event_id FROM raw.outcome_events",
                "SELECT tenant_id, event_id FROM raw.failed_events",
            )
        )
        return int(events[0][0]), int(failed[0][0])

    wait_until(lambda: landed() >= expected, f"{expected} events and deferred ones")
    assert landed() == expected


@pytest.mark.stack
def test_a_stream_of_node_survives_its_gateway(stack: Stack, reader: Reader) -> None:
    """kill -9 in the middle of the guide's own program: it resumes, and all is there once and in order."""
    reader.follow("Node.js")
    partner, total = new_partner(stack, "guide-killed"), 30_000
    values = {**reader.values, "KEY": partner.key}
    with subprocess.Popen(
        ["node", "stream.mjs", str(total)],
        cwd=reader.folder,
        env={**reader.environment, **values},
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        pid, first = stack.pid("ingestion"), program.stdout.readline()
        assert pid is not None and first.startswith("up to batch ")
        kill(pid, signal.SIGKILL)
        output = program.stdout.read()
    assert "UNAVAILABLE" in output
    assert output.endswith(f"{total} events in Kafka, 0 batches unanswered\n")
    wait_until(lambda: len(set(_arrivals(partner))) == total, f"{total} events")
    times = [occurred_at for _, occurred_at in dict.fromkeys(_arrivals(partner))]
    assert times == sorted(times)


def _arrivals(partner: Partner) -> list[tuple[Any, ...]]:
    """Id and time of a group's events in the order in which Kafka got them."""
    return lake_rows(
        "SELECT event_id, occurred_at FROM raw.participation_events WHERE tenant_id = ? "
        "ORDER BY kafka_offset, event_index",
        partner.tenant_id,
    )


EVENT = (
    '{"event_id": "3f0e8a54-6f0c-4d3b-9a57-1c2d7e8b9a10", "occurred_at": "2026-03-02T18:05:00Z", '
    '"group_ref": "g", "participant_ref": "p", %s}'
)


@pytest.mark.stack
def test_the_delay_is_in_the_details_and_in_a_trailer(stack: Stack, reader: Reader) -> None:
    """A partner beyond its limit learns which limit, and when to come again, in both ways."""
    reader.follow("grpcurl")
    partner = new_partner(stack, "guide-limit")
    settings = PostgresSettings.load()
    with closing(connect(settings, settings.database_control)) as connection:
        assert set_limits(connection, partner.tenant_id, Limits(events_per_second=0.001))
    event = EVENT % '"member_joined": {}'
    assert "EVENT_STATUS_ACCEPTED" in reader.post(partner, event)
    refusal = reader.post(partner, event, "-v")
    assert '"reason": "TENANT_RATE"' in refusal
    assert "google.rpc.QuotaFailure" in refusal and f"tenant:{partner.tenant_id}" in refusal
    (pushback,) = re.findall(r"grpc-retry-pushback-ms: (\d+)", refusal)
    (delay,) = re.findall(r'"retry_?[dD]elay": "([\d.]+)s"', refusal)
    assert round(float(delay) * 1000) == int(pushback) > 1000


@pytest.mark.stack
def test_a_newer_contract_is_taken_as_the_guide_says(stack: Stack, reader: Reader, tmp_path: Path) -> None:
    """An unknown field is sealed and the rest is stored; an unknown kind and an unknown code are refused."""
    reader.follow("grpcurl")
    partner = new_partner(stack, "guide-newer")
    newer = _newer_contract(tmp_path / "protos")
    options = f"-import-path {newer} -proto circles/participation/v1/participation_service.proto"
    answers = [
        reader.post(partner, EVENT % kind, options)
        for kind in (
            '"session_attended": {"session_ref": "s", "minutes": 75, "mood": 3}',
            '"member_waved": {}',
            '"member_left": {"reason": 99}',
        )
    ]
    statuses = [re.findall(r"EVENT_STATUS_\w+", answer) for answer in answers]
    assert statuses == [["EVENT_STATUS_ACCEPTED"], ["EVENT_STATUS_REFUSED"], ["EVENT_STATUS_REFUSED"]]
    assert '"field": "kind"' in answers[1] and '"field": "member_left.reason"' in answers[2]

    def landed() -> list[tuple[Any, ...]]:
        return lake_rows(
            "SELECT session_attended__minutes, octet_length(sealed_event) > 0 "
            "FROM raw.participation_events WHERE tenant_id = ?",
            partner.tenant_id,
        )

    wait_until(lambda: landed() == [(75, True)], "the event with its sealed copy")


def _newer_contract(folder: Path) -> Path:
    """A copy of the contract that has a field and a kind more."""
    shutil.copytree(ROOT / "protos", folder, ignore=shutil.ignore_patterns("gen"))
    path = folder / "circles" / "participation" / "v1" / "participation_event.proto"
    text = path.read_text()
    for place, more in (
        ("message SessionAttended {", "uint32 mood = 90;"),
        ("oneof kind {", "MemberJoined member_waved = 90;"),
    ):
        assert text.count(place) == 1
        text = text.replace(place, f"{place}\n{more}\n")
    path.write_text(text)
    return folder


@pytest.mark.stack
def test_messages_may_be_packed(stack: Stack) -> None:
    """With gzip, as the guide says for Python; the limit counts what is in the package."""
    partner = new_partner(stack, "guide-packed")
    metadata = (("authorization", f"Bearer {partner.key}"),)
    large = attended()
    large.session_attended.session_ref = "s" * IngestionSettings.model_fields["max_message_bytes"].default
    with grpc.insecure_channel(partner.address, compression=grpc.Compression.Gzip) as channel:
        post = ParticipationServiceStub(channel).PostParticipationEvents
        results = post(PostParticipationEventsRequest(events=[attended()]), metadata=metadata).results
        assert [result.status for result in results] == [EVENT_STATUS_ACCEPTED]
        with pytest.raises(grpc.RpcError) as caught:
            post(PostParticipationEventsRequest(events=[large]), metadata=metadata)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.stack
def test_messages_of_node_may_be_packed(stack: Stack, reader: Reader) -> None:
    """With the option that the guide names."""
    reader.follow("Node.js")
    partner = new_partner(stack, "guide-packed")
    (option,) = re.findall(r'`("grpc\.default_compression_algorithm": \d)`', GUIDE)
    folder = reader.folder / "packed"
    folder.mkdir()
    shutil.copy(reader.folder / "post.mjs", folder)
    text = (reader.folder / "gateway.mjs").read_text()
    (folder / "gateway.mjs").write_text(text.replace('"grpc.keepalive', f'{option},\n"grpc.keepalive', 1))
    output = reader.run(f"KEY={partner.key} node packed/post.mjs").stdout
    assert output.startswith("first 0 EVENT_STATUS_ACCEPTED\n"), output


def _rows_of_table(heading: str) -> list[list[str]]:
    section = re.split(r"^## ", GUIDE.split(f" {heading}\n")[1], flags=re.MULTILINE)[0]
    rows = re.findall(r"^\| (.*) \|$", section, re.MULTILINE)
    return [row.split(" | ") for row in rows[1:]]


def test_the_guide_has_every_status() -> None:
    named = [f"EVENT_STATUS_{row[0].strip('`')}" for row in _rows_of_table("What an answer means")]
    assert set(named) == set(EventStatus.keys()) - {"EVENT_STATUS_UNSPECIFIED"}


def test_the_guide_has_every_error_of_the_gateway() -> None:
    """Code and reason of each, and that there is a delay where there is one."""
    told = {
        (row[0].strip("`"), row[1].strip("`")): "after the delay" in row[3]
        for row in _rows_of_table("What an error means")
        if row[1] != "–"
    }
    made = {(error.code.name, error.reason): error.retry_seconds is not None for error in _call_errors()}
    assert told == made


def _call_errors() -> Iterator[errors.CallError]:
    """One of each that the gateway can make."""
    values = {"str": "x", "int": 1, "float": 1.0}
    for _, make in inspect.getmembers(errors, inspect.isfunction):
        parameters = inspect.signature(make).parameters.values()
        if make.__annotations__.get("return") == "CallError":
            yield make(*(values[each.annotation] for each in parameters))


def test_the_guide_has_the_limits_of_the_gateway() -> None:
    told = [" ".join(row[:2]) for row in _rows_of_table("Limits")]
    limit = {name: each.default for name, each in IngestionSettings.model_fields.items()}
    for words in (
        f"a batch {limit['max_events_per_batch']} events",
        f"a message {limit['max_message_bytes'] >> 20} MiB",
        f"an event {limit['max_event_bytes'] >> 10} KiB",
        f"a stream {limit['window_batches']} unanswered",
        f"you {limit['tenant_events_per_second']:,} events and {limit['tenant_bytes_per_second']:,} bytes",
        f"you {limit['tenant_streams']} streams",
        f"a connection {limit['max_calls_per_connection']} calls",
        f"a connection {limit['connection_age_seconds'] / 3600:g} hour; "
        f"{limit['connection_idle_seconds'] / 60:g} minutes",
        f"a connection one keepalive ping in {limit['keepalive_seconds'] / 2:g} seconds",
    ):
        assert any(each.startswith(words) for each in told), words
    assert f"some {limit['remembered_events']:,} of the newest events" in GUIDE


def test_the_guide_has_the_times_of_the_gateway() -> None:
    (days,) = {door.late_after_seconds / 86_400 for door in doors()}
    assert f"occurred more than {days:g} days before it arrived" in GUIDE
    assert f"more than {days:g} days old is flagged `is_late`" in GUIDE
    assert f"More than {MAX_FUTURE_SECONDS / 60:g} minutes ahead of the gateway is refused" in GUIDE

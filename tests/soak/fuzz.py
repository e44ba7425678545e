"""Campaign `fuzz`: changed bytes, bombs and broken connections against a gateway that must live through all.

A finding: a process that ends, a traceback of ours in its log, INTERNAL or UNKNOWN as an answer, no answer
within 30 s, too much memory, a good event that is not in raw once. What was sent shortly before is kept
beside the progress, as reprs of `noise.Shot`.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import re
import signal
import socket
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import grpc
import psutil
from circles.common.v1.common_pb2 import EVENT_STATUS_ACCEPTED
from circles.participation.v1.participation_service_pb2 import PostParticipationEventsResponse

from tests.fakes.bad_input import good_events
from tests.kills import TABLES
from tests.partners import Partner, lake_rows
from tests.soak.noise import ANSWER_SECONDS, DOORS, Shot, path_of, shot
from tests.soak.progress import Progress
from tests.stacks import wait_until

WITHOUT = ("dagster-*", "engagement", "live", "safeguarding")
WATCHED = ("ingestion", "landing")
STEP_SECONDS = 10
THREADS = 4
MOST_MEMORY_MIB = 400
END_AT_MIB = 3_000
"""A gateway that grows on would take the machine's memory before the campaign is over."""

LOG_RECORD = re.compile(r"^(?=\d{4}-\d\d-\d\dT|[EWI]\d{4} )", re.MULTILINE)
BAD_CODES = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


class Fuzz:
    def __init__(self, partner: Partner, folder: Path, progress: Progress) -> None:
        self.partner = partner
        self.folder = folder
        self.progress = progress
        self.recent: deque[Shot] = deque(maxlen=50)
        self.seen: list[str] = []
        """What became of each shot of this step, from all threads."""
        self.accepted: list[str] = []
        """Ids, also those of events that lived through their change; `good` are the ones of good events."""
        self.good: list[str] = []
        self._metadata = (("authorization", f"Bearer {partner.key}"),)
        self._pids = self._running()

    def step(self) -> None:
        progress = self.progress
        self.seen, self.accepted, self.good = [], [], []
        most, end = 0, time.monotonic() + STEP_SECONDS
        names = [f"{progress.seed}/{progress.done}/{number}" for number in range(THREADS)]
        with ThreadPoolExecutor(THREADS) as pool:
            shooting = [pool.submit(self._shoot, random.Random(name), end) for name in names]
            while wait(shooting, timeout=0.5).not_done:
                most = max(most, self._watch())
        for each in shooting:
            each.result()
        for name in ("accepted", "good"):
            with (self.folder / name).open("a") as file:
                file.writelines(f"{event_id}\n" for event_id in getattr(self, name))
        progress.counts.update(self.seen)
        progress.memory.append(most)
        progress.done += STEP_SECONDS

    def check(self) -> None:
        self._watch()
        if max(self.progress.memory) > MOST_MEMORY_MIB:
            self._found(f"more than {MOST_MEMORY_MIB} MiB of memory")
        try:
            wait_until(self._has_landed, "the end of landing's lag", seconds=600)
        except AssertionError as error:
            self._found(str(error))
        union = " UNION ALL ".join(f"SELECT event_id, tenant_id FROM raw.{table}" for table in TABLES)
        count = f"SELECT event_id, count(*) FROM ({union}) WHERE tenant_id = ? GROUP BY 1"
        landed = dict(lake_rows(count, self.partner.tenant_id))
        accepted, good = ((self.folder / name).read_text().split() for name in ("accepted", "good"))
        for what, wrong in {
            "accepted events are not in raw": [each for each in accepted if each not in landed],
            "good events are in raw more than once": [each for each in good if landed.get(each, 1) > 1],
        }.items():
            if wrong:
                self._found(f"{len(wrong)} {what}, as {wrong[:3]}")
        failed = (
            "SELECT stage, reason, count(*) FROM raw.failed_events GROUP BY ALL HAVING reason != 'deferred'"
        )
        for stage, reason, records in lake_rows(failed):
            self._found(f"{records} records failed in {stage}: {reason}")
        self.progress.counts["rows in raw"] = sum(landed.values())

    def _has_landed(self) -> bool:
        topics = self.partner.stack.status()["topics"]
        lags = [each["lag"] for each in topics if each["consumer"] == "landing"]
        return bool(lags) and not any(lags)

    def _found(self, words: str, shots: Iterable[Shot] = ()) -> None:
        """Addresses and sizes do not make two findings of one."""
        words = re.sub(r"0x\w+|\d{4,}", "N", words)[:300]
        if words not in self.progress.findings:
            self.progress.findings.append(words)
            with gzip.open(self.folder / f"finding-{len(self.progress.findings)}.txt.gz", "wt") as file:
                file.write("\n".join([words, *map(repr, list(shots))]))

    def _watch(self) -> int:
        """The gateway's memory now, in MiB."""
        for name, pid in self._running().items():
            if pid is not None and pid != self._pids[name]:
                self._found(f"{name} ended", self.recent)
                self._pids[name] = pid
        for name in WATCHED:
            log = (self.partner.stack.home / "logs" / f"{name}.log").read_text(errors="replace")
            errors = [record for record in LOG_RECORD.split(log) if "Traceback" in record]
            # gRPC logs its own about calls whose caller has gone and about names that are no UTF-8.
            self.progress.counts[f"tracebacks of {name}"] = len(errors)
            for record in errors:
                if places := re.findall(r'services/\S+", line \d+', record):
                    self._found(f"traceback of {name}: {places[-1]}: {record.splitlines()[-1]}", self.recent)
        memory = self._memory()
        if memory > END_AT_MIB:
            self._found("so much memory that the gateway was ended before the machine had none left")
            self._replace_gateway()
        return memory

    def _replace_gateway(self) -> None:
        old = self._pids["ingestion"]
        if old is not None:
            os.kill(old, signal.SIGKILL)
        wait_until(lambda: self._running()["ingestion"] not in (None, old), "another gateway")
        self._pids["ingestion"] = self._running()["ingestion"]

    def _running(self) -> dict[str, int | None]:
        return {name: self.partner.stack.pid(name) for name in WATCHED}

    def _memory(self) -> int:
        pid = self._pids["ingestion"]
        with contextlib.suppress(psutil.Error):
            return psutil.Process(pid).memory_info().rss >> 20 if pid else 0
        return 0

    def _shoot(self, rng: random.Random, end: float) -> None:
        """One thread: noise, and good events on the same connection, which is renewed now and then."""
        while time.monotonic() < end:
            options = [("grpc.max_send_message_length", -1)]
            with grpc.insecure_channel(self.partner.address, options) as channel:
                for number in range(100):
                    if time.monotonic() > end:
                        return
                    made = shot(rng)
                    self.recent.append(made)
                    self.seen.append(self._call(channel, made)[0] if made.path else self._connect(made))
                    if number % 5 == 0:
                        self._post_good(channel, rng)

    def _call(self, channel: Any, made: Shot) -> tuple[str, Any]:
        """The code as a word, and the answers or, of a unary call, the results."""
        more = {"timeout": made.seconds, "metadata": self._metadata, "compression": made.compression}
        try:
            if made.is_stream:
                return "OK", list(channel.stream_stream(made.path)(iter(made.messages), **more))
            answer = channel.unary_unary(made.path)(made.messages[0], **more)
            results = PostParticipationEventsResponse.FromString(answer).results
            self.accepted += [each.event_id for each in results if each.status == EVENT_STATUS_ACCEPTED]
            return "OK", results
        except grpc.RpcError as error:
            code: Any = error.code()
            is_late = code == grpc.StatusCode.DEADLINE_EXCEEDED and made.seconds == ANSWER_SECONDS
            if is_late or code in BAD_CODES:
                kind = "a stream" if made.is_stream else "a call"
                self._found(f"{code.name} to {kind}: {error.details()}", [made])
            return code.name, []

    def _connect(self, made: Shot) -> str:
        host, port = self.partner.address.split(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=5) as raw:
            raw.sendall(made.messages[0])
            raw.settimeout(0.2)
            while raw.recv(65_536):
                pass
        return "raw connections"

    def _post_good(self, channel: Any, rng: random.Random) -> None:
        """After a failure another event is posted, so that each that is acknowledged must be in raw once."""
        code, end = "", time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < end:
            event = rng.choice(good_events())
            (door,) = [door for door in DOORS if door.topic.event is event.DESCRIPTOR]
            request = door.post_request(events=[event]).SerializeToString()
            code, results = self._call(channel, Shot(path_of(door, is_stream=False), (request,)))
            if code == "OK":
                (result,) = results
                if result.status != EVENT_STATUS_ACCEPTED:
                    self._found(f"a good event of {door.domain} was answered {result}")
                self.good.append(event.event_id)
                self.seen.append("good events")
                return
            time.sleep(0.2)
        self._found(f"no good event acknowledged in {ANSWER_SECONDS:g} s, at last {code}", self.recent)

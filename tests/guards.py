"""Safeguarding processes of our own beside the stack's, with settings of their own: clocks, webhooks.

They have the stack's servers, tenants and secrets, its consumer group, and data folders of their own. The
stack's own process rests meanwhile.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from circles.client import events
from circles.participation.v1.participation_event_pb2 import (
    RISK_ANSWER_CONTACTED,
    RISK_KIND_OTHER,
    RISK_KIND_SELF_HARM,
)
from circles.safeguarding.v1.safeguarding_alert_pb2 import SafeguardingAlert

from infra.local.supervision import Supervisor
from services.kafka.client import consumer
from services.runtime import heartbeat
from services.runtime.settings import KafkaSettings
from tests.fakes.receiver import SECRET, Receiver
from tests.partners import Partner, published_rows
from tests.stacks import Stack, wait_until

SERVICE = "safeguarding"
QUICK, SLOW = RISK_KIND_OTHER, RISK_KIND_SELF_HARM
"""Kinds whose clocks run out within seconds and within an hour."""

QUICK_SECONDS = 3


@dataclass
class Guard:
    """A running process."""

    process: subprocess.Popen[bytes]
    home: Path
    log: Path

    @property
    def is_ready(self) -> bool:
        beat = heartbeat.read(SERVICE, self.home / "run")
        return beat is not None and beat.pid == self.process.pid and beat.is_ready

    @property
    def figures(self) -> dict[str, int]:
        beat = heartbeat.read(SERVICE, self.home / "run")
        assert beat is not None
        return beat.figures

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(30)


@contextlib.contextmanager
def stack_unguarded(stack: Stack) -> Iterator[None]:
    """The stack's own safeguarding rests until the block ends."""
    supervisor = Supervisor(stack.home)
    supervisor.stop_processes([SERVICE])
    try:
        yield
    finally:
        supervisor.start_process(SERVICE)


@contextlib.contextmanager
def guard(stack: Stack, folder: Path, receiver: Receiver, **settings: object) -> Iterator[Guard]:
    """Runs until the block ends, or until it is killed. `settings`: fields of SafeguardingSettings."""
    home = folder / f"guard-{uuid.uuid4().hex[:6]}"
    (home / "run").mkdir(parents=True)
    shutil.copy(stack.home / "stack.env", home)
    shutil.copytree(stack.home / "secrets", home / "secrets")
    secret = home / "secrets" / "webhook.secret"
    secret.write_bytes(SECRET)
    own = _defaults(receiver, secret) | settings
    environment = {
        **stack.environment,
        "CIRCLES_HOME": str(home),
        **{f"CIRCLES_SAFEGUARDING_{name.upper()}": str(value) for name, value in own.items()},
    }
    log = home / "safeguarding.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "services.safeguarding"]
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    ours = Guard(process, home, log)
    try:
        wait_until(lambda: ours.is_ready or process.poll() is not None, "a safeguarding process")
        yield ours
    finally:
        process.terminate()
        process.wait(60)


def _defaults(receiver: Receiver, secret: Path) -> dict[str, object]:
    return {
        "answer_minutes": 60,
        "answer_minutes_by_kind": f"other={QUICK_SECONDS / 60}",
        "webhook_url": receiver.url,
        "webhook_secret_file": secret,
        "webhook_retry_seconds": 0.2,
        "webhook_max_retry_seconds": 0.5,
        "heartbeat_seconds": 2,
    }


def raised(case: str, kind: Any = SLOW, group: str = "g1", at: datetime | None = None) -> Any:
    return events.risk_raised(
        group=group, participant="p1", case=case, at=at or datetime.now(UTC), risk_kind=kind
    )


def answered(case: str, group: str = "g1") -> Any:
    return events.risk_answered(
        group=group, participant="p2", case=case, answer=RISK_ANSWER_CONTACTED, at=datetime.now(UTC)
    )


def retracted(event: Any, group: str = "g1") -> Any:
    return events.participation_event_retracted(
        group=group, retracted_event_id=event.event_id, at=datetime.now(UTC)
    )


def case_ref() -> str:
    return f"case-{uuid.uuid4().hex[:12]}"


def row(partner: Partner, case: str, *columns: str) -> tuple[Any, ...]:
    """Columns of a case in `live.safeguarding`; empty when it is not there."""
    rows = published_rows(
        f"SELECT {', '.join(columns)} FROM live.safeguarding WHERE tenant_id = %s AND case_ref = %s",
        partner.tenant_id,
        case,
    )
    return rows[0] if rows else ()


def wait_for_row(partner: Partner, case: str, **wanted: object) -> None:
    values = tuple(wanted.values())
    wait_until(lambda: row(partner, case, *wanted) == values, f"{wanted} of {case}", seconds=60)


def topic_alerts(cases: Sequence[str] = ()) -> list[SafeguardingAlert]:
    """What is on the alerts' topic, of these cases or of all, the oldest first."""
    found = []
    with closing(
        consumer(KafkaSettings.load(), auto_offset_reset="earliest", consumer_timeout_ms=1500)
    ) as reader:
        reader.subscribe(["safeguarding-alerts"])
        for record in reader:
            alert = SafeguardingAlert.FromString(record.value)
            if not cases or alert.case_ref in cases:
                found.append(alert)
    return sorted(found, key=lambda each: each.issued_at.ToNanoseconds())


def seconds_until(condition: Any) -> float:
    """How long something took to come about."""
    begun = time.monotonic()
    wait_until(condition, "what is waited for", seconds=30)
    return time.monotonic() - begun

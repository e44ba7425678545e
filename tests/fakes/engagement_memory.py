"""The engagement worker's arithmetic with topics in memory, without Kafka and Faust; for unit tests.

Told events go in as the gateway's bytes, figures come out, state can be lost half-way and is restored.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from circles.common.v1.common_pb2 import DATA_CLASS_SYNTHETIC
from circles.engagement.v1.group_engagement_pb2 import GroupEngagement
from circles.engagement.v1.tenant_contribution_pb2 import TenantContribution
from circles.participation.v1 import participation_event_pb2 as pb
from circles.participation.v1.participation_event_envelope_pb2 import ParticipationEventEnvelope

from services.engagement.cold import ColdGroups
from services.engagement.messages import figures_record
from services.engagement.partitions import GroupFigures, PartitionState
from services.engagement.reading import PSEUDONYM_CHARACTERS, pseudonym_number, read
from services.engagement.state import StateWriter, restored
from services.engagement.tables import Tabulator
from services.live.view import FIGURES, MAY_BE_ABSENT
from tests.fakes.engagement_oracle import Figures, Told

TENANT = "t"
GROUP = "grp_" + "0" * 32
TOPIC_ID = "topic"

Shown = dict[str, tuple[int, dict[int, Figures]]]
"""By group: as_of, and figures by the hours of the window."""


def pseudonym(name: str) -> str:
    """Of a readable name, in the order of the names, as far as eight letters tell them apart."""
    return name if len(name) in (0, PSEUDONYM_CHARACTERS) else f"xxx_{name.encode().hex():0<32}"


def event_of(told: Told, group: str = GROUP) -> pb.ParticipationEvent:
    """As it stands in an envelope."""
    event = pb.ParticipationEvent(
        event_id=f"{told.event_id:->36}", group_ref=group, participant_ref=pseudonym(told.participant)
    )
    event.occurred_at.FromSeconds(told.occurred_at)
    content = getattr(event, told.kind)
    content.SetInParent()
    said: dict[str, Any] = {
        "session_ref": pseudonym(told.session),
        "thread_ref": pseudonym(told.thread),
        "act_ref": pseudonym(told.act),
        "in_reply_to_act_ref": pseudonym(told.in_reply_to),
        "retracted_event_id": f"{told.retracted:->36}",
        "role": pb.AttendanceRole.Value(f"ATTENDANCE_ROLE_{(told.role or 'unspecified').upper()}"),
        "action": pb.ModerationAction.Value(f"MODERATION_ACTION_{(told.action or 'unspecified').upper()}"),
    }
    for field in content.DESCRIPTOR.fields:
        if field.name in said:
            setattr(content, field.name, said[field.name])
    return event


def record_of(events: Sequence[pb.ParticipationEvent], received_at: int) -> tuple[bytes, bytes]:
    """Key and value of one record."""
    envelope = ParticipationEventEnvelope(tenant_id=TENANT, data_class=DATA_CLASS_SYNTHETIC)
    envelope.received_at.FromSeconds(received_at)
    for event in events:
        envelope.events.add().event.CopyFrom(event)
    return TENANT.encode(), envelope.SerializeToString()


class Memory:
    """One partition, its state topic and the figures that were sent."""

    def __init__(self, folder: Path, max_events: int = 10**9, tabulator: Tabulator | None = None) -> None:
        self.input: list[tuple[bytes, bytes]] = []
        self.state: dict[bytes, bytes] = {}
        self.shown: Shown = {}
        self.contribution = TenantContribution()
        self.withdrawn: dict[str, frozenset[int]] = {}
        self.ever_withdrawn: dict[str, frozenset[int]] = {}
        self.max_events = max_events
        self.committed = 0
        self._folder = folder
        self._tabulator = tabulator or Tabulator()
        self._epochs = itertools.count()
        self._cold: ColdGroups | None = None
        self.start()

    def start(self) -> None:
        """A new worker, with what is on the state topic."""
        if self._cold is not None:
            self._cold.close()
        epoch = next(self._epochs)
        self._cold = ColdGroups(self._folder / f"cold-{epoch}")
        self.partition = PartitionState(StateWriter(f"{epoch:08x}", TOPIC_ID), self._tabulator, self._cold)
        groups, unreadable = restored(self.state, self.withdrawn, TOPIC_ID)
        assert not unreadable
        for group, written in groups:
            self.partition.restore(group, written, self.ever_withdrawn)
        self.read = self.committed

    def post(self, events: Sequence[pb.ParticipationEvent], received_at: int = 2**31) -> None:
        self.input.append(record_of(events, received_at))

    def apply(self) -> None:
        """Takes in what was posted, without writing anything."""
        records = [(key, value, self.read + i) for i, (key, value) in enumerate(self.input[self.read :])]
        self.read = len(self.input)
        told, unusable = read(records)
        assert not unusable
        self.partition.applied_offset = self.read - 1
        self.partition.tell(told, self.withdrawn)

    def withdraw(self, persons: Collection[str]) -> None:
        """From now on these have withdrawn, and nobody else."""
        before = self.withdrawn.get(TENANT, frozenset())
        self.withdrawn[TENANT] = frozenset(pseudonym_number(pseudonym(person)) for person in persons)
        self.ever_withdrawn[TENANT] = self.ever_withdrawn.get(TENANT, frozenset()) | self.withdrawn[TENANT]
        self.partition.follow(TENANT, before ^ self.withdrawn[TENANT], self.withdrawn)

    def flush(self, crash_after: int | None = None) -> None:
        """Writes what changed; with `crash_after` only so many records of state, and a new worker starts."""
        records, figures = [], []
        for state, group in self.partition.take():
            records += state
            figures += [group] if group else []
        contributions = [each.record(TOPIC_ID, 0, self.read) for each in self.partition.take_tenants()]
        for key, value in records[:crash_after]:
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        if crash_after is not None:
            self.start()
            return
        for group in figures:
            self.shown[group.group.key.group_id] = shown(group)
        for _, value in contributions:
            self.contribution = TenantContribution.FromString(value)
        self.committed = self.read
        self.partition.rest(self.max_events)

    def run(self) -> None:
        self.apply()
        self.flush()

    def figures(self, group: str = GROUP) -> tuple[int, dict[int, Figures]] | None:
        return self.shown.get(group)


def shown(figures: GroupFigures) -> tuple[int, dict[int, Figures]]:
    return shown_of(GroupEngagement.FromString(figures_record(figures, TOPIC_ID, 0, 0)[1]))


def shown_of(message: GroupEngagement) -> tuple[int, dict[int, Figures]]:
    """What a reader of the message sees."""
    windows = {
        window.window_hours: {
            name: None
            if name in MAY_BE_ABSENT and not window.HasField(name)  # type: ignore[arg-type]
            else getattr(window, name)
            for name in FIGURES
            if name != "window_hours"
        }
        for window in message.windows
    }
    return message.as_of.seconds, windows

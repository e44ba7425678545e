"""What `live.group_engagement` shows of a partner, and what it should: the oracle over what was posted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from circles.outcomes.v1.outcome_event_pb2 import OutcomeEvent
from circles.participation.v1 import participation_event_pb2 as pb
from circles.participation.v1.participation_event_pb2 import ParticipationEvent

from services.ingestion.pseudonyms import Pseudonymiser
from services.live.view import FIGURES
from services.runtime.settings import IngestionSettings
from tests.fakes.engagement_oracle import Figures, Told, figures
from tests.partners import Partner, published_rows

Shown = dict[str, tuple[int, dict[int, Figures]]]
"""By group: as_of, and figures by the hours of the window."""


def live_figures(partner: Partner) -> Shown:
    rows = published_rows(
        f"SELECT group_id, extract(epoch FROM as_of)::bigint, {', '.join(FIGURES)} "
        "FROM live.group_engagement WHERE tenant_id = %s",
        partner.tenant_id,
    )
    shown: Shown = {}
    for group, as_of, *values in rows:
        window = dict(zip(FIGURES, values, strict=True))
        shown.setdefault(group, (as_of, {}))[1][window.pop("window_hours")] = window
    return shown


def recount(partner: Partner, events: Sequence[Any]) -> Shown:
    """Straight from what was posted, retractions and consents among it."""
    pseudonymiser = Pseudonymiser.from_file(IngestionSettings.load().pseudonym_key_file)
    by_group: dict[str, list[Told]] = defaultdict(list)
    statements = []
    for event in events:
        if not isinstance(event, ParticipationEvent | OutcomeEvent):
            continue
        stored: Any = type(event)()
        stored.CopyFrom(event)
        pseudonymiser.replace(partner.tenant_id, stored, stored.WhichOneof("kind"))
        if isinstance(stored, ParticipationEvent):
            by_group[stored.group_ref].append(_told(stored))
        else:
            statements.append(stored)
    withdrawn = _withdrawn(statements)
    found = {group: figures(told, withdrawn) for group, told in by_group.items()}
    return {group: counted for group, counted in found.items() if counted is not None}


def _told(event: ParticipationEvent) -> Told:
    kind = event.WhichOneof("kind")
    assert kind is not None
    content: Any = getattr(event, kind)
    said = {field.name: getattr(content, field.name) for field in content.DESCRIPTOR.fields}
    role = pb.AttendanceRole.Name(said.get("role", 0)).removeprefix("ATTENDANCE_ROLE_").lower()
    action = pb.ModerationAction.Name(said.get("action", 0)).removeprefix("MODERATION_ACTION_").lower()
    return Told(
        kind,
        event.event_id,
        event.occurred_at.seconds,
        event.participant_ref,
        session=said.get("session_ref", ""),
        thread=said.get("thread_ref", ""),
        act=said.get("act_ref", ""),
        in_reply_to=said.get("in_reply_to_act_ref", ""),
        role="" if role == "unspecified" else role,
        action="" if action == "unspecified" else action,
        retracted=said.get("retracted_event_id", ""),
    )


def _withdrawn(events: Sequence[OutcomeEvent]) -> set[str]:
    """People whose newest statement of any scope is a withdrawal."""
    retracted = {event.event_retracted.retracted_event_id for event in events}
    newest: dict[tuple[str, int], tuple[int, bool]] = {}
    for event in events:
        kind = event.WhichOneof("kind")
        if kind in ("consent_given", "consent_withdrawn") and event.event_id not in retracted:
            key = event.participant_ref, getattr(event, kind).scope
            said = event.occurred_at.seconds, kind == "consent_withdrawn"
            newest[key] = max(said, newest.get(key, said))
    return {person for (person, _), (_, is_withdrawal) in newest.items() if is_withdrawal}

"""Rules of raw.participation_events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circles.participation.v1 import participation_event_pb2 as contract

from pipelines.quality.rules import codes, is_between, is_one_of, is_true
from pipelines.quality.suites.events import event_suite

if TYPE_CHECKING:
    import pandas as pd

WITHOUT_PARTICIPANT = ("session_held", "session_cancelled", "event_retracted")
MAX_MINUTES = 24 * 60
SESSION_REFS = (
    "session_held__session_ref",
    "session_cancelled__session_ref",
    "session_attended__session_ref",
)


def _derive(frame: pd.DataFrame) -> pd.DataFrame:
    is_session = frame["kind"].isin(["session_held", "session_cancelled", "session_attended"])
    return frame.assign(
        has_group=frame["group_ref"].notna() | (frame["kind"] == "event_retracted"),
        has_participant=frame["participant_ref"].notna() | frame["kind"].isin(WITHOUT_PARTICIPANT),
        has_session=~is_session | frame[list(SESSION_REFS)].notna().any(axis=1),
    )


SUITE = event_suite(
    "participation_events",
    contract.ParticipationEvent.DESCRIPTOR,
    columns=(
        "group_ref",
        "participant_ref",
        *SESSION_REFS,
        "member_left__reason",
        "session_held__minutes",
        "session_attended__minutes",
        "session_attended__role",
        "reaction_given__reaction",
        "moderation_acted__action",
        "risk_raised__risk_kind",
        "risk_answered__answer",
    ),
    rules=(
        is_true("has_group", "group_ref_is_present"),
        is_true("has_participant", "participant_ref_is_present"),
        is_true("has_session", "session_ref_is_present"),
        is_between("session_held__minutes", 0, MAX_MINUTES),
        is_between("session_attended__minutes", 0, MAX_MINUTES),
        is_one_of("member_left__reason", codes(contract.LeaveReason.DESCRIPTOR)),
        is_one_of("session_attended__role", codes(contract.AttendanceRole.DESCRIPTOR)),
        is_one_of("reaction_given__reaction", codes(contract.Reaction.DESCRIPTOR)),
        is_one_of("moderation_acted__action", codes(contract.ModerationAction.DESCRIPTOR)),
        is_one_of("risk_raised__risk_kind", codes(contract.RiskKind.DESCRIPTOR)),
        is_one_of("risk_answered__answer", codes(contract.RiskAnswer.DESCRIPTOR)),
    ),
    derive=_derive,
)

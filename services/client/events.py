"""One function for each kind of event: what the contract calls a message, as a call with named arguments.

An argument is named as its field, without `_ref` or `_code`. `at` is an aware datetime, `event_id` a UUID
in lower case, made here when it is not given: give your own where an event may be built twice, so that it
counts once. Codes are the generated enum's values, as `ATTENDANCE_ROLE_MEMBER`. Every function raises
ValueError for a time without a time zone and for a number that its field cannot hold, TypeError for a
wrong type. Whether an event is right is not decided here: the gateway's rules do that.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from circles.common.v1.common_pb2 import EventRetracted
from circles.groups.v1 import group_event_pb2 as groups
from circles.groups.v1.group_event_pb2 import GroupEvent
from circles.outcomes.v1 import outcome_event_pb2 as outcomes
from circles.outcomes.v1.outcome_event_pb2 import OutcomeEvent
from circles.participation.v1 import participation_event_pb2 as participation
from circles.participation.v1.participation_event_pb2 import ParticipationEvent
from circles.studies.v1 import study_event_pb2 as studies
from circles.studies.v1.study_event_pb2 import StudyEvent
from google.protobuf.timestamp_pb2 import Timestamp


def member_joined(
    *, group: str, participant: str, at: datetime, event_id: str | None = None
) -> ParticipationEvent:
    """A person became a member of a group."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        member_joined=participation.MemberJoined(),
    )


def member_left(
    *,
    group: str,
    participant: str,
    at: datetime,
    reason: participation.LeaveReason.ValueType = participation.LEAVE_REASON_UNSPECIFIED,
    event_id: str | None = None,
) -> ParticipationEvent:
    """A person is no longer a member of a group."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        member_left=participation.MemberLeft(reason=reason),
    )


def session_held(
    *, group: str, session: str, at: datetime, minutes: int = 0, event_id: str | None = None
) -> ParticipationEvent:
    """A session took place. `minutes`: its planned or actual length, 0 to 1440; 0: not recorded."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        session_held=participation.SessionHeld(session_ref=session, minutes=minutes),
    )


def session_cancelled(
    *, group: str, session: str, at: datetime, event_id: str | None = None
) -> ParticipationEvent:
    """A planned session did not take place."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        session_cancelled=participation.SessionCancelled(session_ref=session),
    )


def session_attended(
    *,
    group: str,
    participant: str,
    session: str,
    at: datetime,
    role: participation.AttendanceRole.ValueType = participation.ATTENDANCE_ROLE_UNSPECIFIED,
    minutes: int = 0,
    event_id: str | None = None,
) -> ParticipationEvent:
    """A person was present at a session. `minutes`: time present, 0 to 1440; 0: not recorded."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        session_attended=participation.SessionAttended(session_ref=session, role=role, minutes=minutes),
    )


def thread_started(
    *, group: str, participant: str, thread: str, act: str, at: datetime, event_id: str | None = None
) -> ParticipationEvent:
    """A person wrote the first message of a thread; `act` names that message."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        thread_started=participation.ThreadStarted(thread_ref=thread, act_ref=act),
    )


def reply_posted(
    *,
    group: str,
    participant: str,
    thread: str,
    act: str,
    in_reply_to_act: str,
    at: datetime,
    event_id: str | None = None,
) -> ParticipationEvent:
    """A person answered a message: `act` is the answer, `in_reply_to_act` what it answers."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        reply_posted=participation.ReplyPosted(
            thread_ref=thread, act_ref=act, in_reply_to_act_ref=in_reply_to_act
        ),
    )


def reaction_given(
    *,
    group: str,
    participant: str,
    act: str,
    reaction: participation.Reaction.ValueType,
    at: datetime,
    event_id: str | None = None,
) -> ParticipationEvent:
    """A person reacted to a message, `act`, without words."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        reaction_given=participation.ReactionGiven(act_ref=act, reaction=reaction),
    )


def thread_read(
    *, group: str, participant: str, thread: str, at: datetime, event_id: str | None = None
) -> ParticipationEvent:
    """A person opened a thread."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        thread_read=participation.ThreadRead(thread_ref=thread),
    )


def moderation_acted(
    *,
    group: str,
    participant: str,
    action: participation.ModerationAction.ValueType,
    at: datetime,
    act: str = "",
    event_id: str | None = None,
) -> ParticipationEvent:
    """`participant` is the moderator. `act`: the message concerned; empty: no single one."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        moderation_acted=participation.ModerationActed(action=action, act_ref=act),
    )


def risk_raised(
    *,
    group: str,
    participant: str,
    case: str,
    at: datetime,
    risk_kind: participation.RiskKind.ValueType = participation.RISK_KIND_UNSPECIFIED,
    event_id: str | None = None,
) -> ParticipationEvent:
    """Somebody may be at risk. `case` is stored as sent: only you may be able to tell who it is.

    Nobody is called: Circles is no crisis service.
    """
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        risk_raised=participation.RiskRaised(case_ref=case, risk_kind=risk_kind),
    )


def risk_answered(
    *,
    group: str,
    participant: str,
    case: str,
    answer: participation.RiskAnswer.ValueType,
    at: datetime,
    event_id: str | None = None,
) -> ParticipationEvent:
    """What was done about `case`, as given to `risk_raised`."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        risk_answered=participation.RiskAnswered(case_ref=case, answer=answer),
    )


def text_features_measured(
    *,
    group: str,
    participant: str,
    act: str,
    dictionary: str,
    features: Mapping[str, float],
    at: datetime,
    event_id: str | None = None,
) -> ParticipationEvent:
    """Numbers that you computed from a text which stays with you.

    `dictionary`: its name and version, as `vader-3.3`; `features`: 1 to 200 values by the dictionary's codes.
    """
    measured = [participation.TextFeature(code=code, value=value) for code, value in features.items()]
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        participant_ref=participant,
        text_features_measured=participation.TextFeaturesMeasured(
            act_ref=act, dictionary=dictionary, features=measured
        ),
    )


def participation_event_retracted(
    *, group: str, retracted_event_id: str, at: datetime, event_id: str | None = None
) -> ParticipationEvent:
    """Takes back one of your participation events in the same group."""
    return ParticipationEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        event_retracted=EventRetracted(retracted_event_id=retracted_event_id),
    )


def questionnaire_answered(
    *,
    participant: str,
    instrument: str,
    instrument_version: str,
    at: datetime,
    items: Mapping[int, int] | None = None,
    total: float | None = None,
    study: str = "",
    time_point: str = "",
    group: str = "",
    event_id: str | None = None,
) -> OutcomeEvent:
    """Either `items` (answers by item number, from 1) or `total`, in the instrument's points.

    `study` empty: routine measurement; `time_point` empty: unplanned.
    """
    answers = [outcomes.ItemAnswer(item=item, value=value) for item, value in (items or {}).items()]
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        questionnaire_answered=outcomes.QuestionnaireAnswered(
            instrument=instrument,
            instrument_version=instrument_version,
            items=answers,
            total=total,
            study_code=study,
            time_point=time_point,
        ),
    )


def attribute_stated(
    *,
    participant: str,
    at: datetime,
    age_band: outcomes.AgeBand.ValueType | None = None,
    gender: outcomes.Gender.ValueType | None = None,
    employment: outcomes.Employment.ValueType | None = None,
    education: outcomes.Education.ValueType | None = None,
    marital_status: outcomes.MaritalStatus.ValueType | None = None,
    diagnosis: outcomes.Diagnosis.ValueType | None = None,
    group: str = "",
    event_id: str | None = None,
) -> OutcomeEvent:
    """One attribute of a person. ValueError for none and for several: an event states one."""
    attributes = {
        "age_band": age_band,
        "gender": gender,
        "employment": employment,
        "education": education,
        "marital_status": marital_status,
        "diagnosis": diagnosis,
    }
    stated: dict[str, Any] = {name: code for name, code in attributes.items() if code is not None}
    if len(stated) != 1:
        # The message itself would keep the last one and drop the others without a word.
        raise ValueError(f"attribute_stated: give exactly one attribute, not {sorted(stated) or 'none'}")
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        attribute_stated=outcomes.AttributeStated(**stated),
    )


def covariate_stated(
    *,
    participant: str,
    study: str,
    covariate: str,
    value: str,
    at: datetime,
    group: str = "",
    event_id: str | None = None,
) -> OutcomeEvent:
    """The value, a code, of a covariate that the study's protocol names."""
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        covariate_stated=outcomes.CovariateStated(study_code=study, covariate=covariate, value=value),
    )


def arm_allocated(
    *, participant: str, study: str, arm: str, at: datetime, group: str = "", event_id: str | None = None
) -> OutcomeEvent:
    """A person was allocated to an arm of a study."""
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        arm_allocated=outcomes.ArmAllocated(study_code=study, arm=arm),
    )


def consent_given(
    *,
    participant: str,
    scope: outcomes.ConsentScope.ValueType,
    at: datetime,
    group: str = "",
    event_id: str | None = None,
) -> OutcomeEvent:
    """A person agreed. Without `CONSENT_SCOPE_RESEARCH` they are in no evidence table."""
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        consent_given=outcomes.ConsentGiven(scope=scope),
    )


def consent_withdrawn(
    *,
    participant: str,
    scope: outcomes.ConsentScope.ValueType,
    at: datetime,
    group: str = "",
    event_id: str | None = None,
) -> OutcomeEvent:
    """A person changed their mind."""
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        consent_withdrawn=outcomes.ConsentWithdrawn(scope=scope),
    )


def survey_answered(
    *,
    participant: str,
    survey: str,
    weight: float,
    answers: Mapping[str, str],
    at: datetime,
    stratum: str = "",
    cluster: str = "",
    group: str = "",
    event_id: str | None = None,
) -> OutcomeEvent:
    """`weight`: the sampling weight, above 0. `answers`: up to 200 codes by the question's code."""
    given = [outcomes.SurveyAnswer(question=question, answer=answer) for question, answer in answers.items()]
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        survey_answered=outcomes.SurveyAnswered(
            survey_code=survey, weight=weight, stratum=stratum, cluster=cluster, answers=given
        ),
    )


def theme_coded(
    *,
    participant: str,
    study: str,
    theme: str,
    coder: str,
    is_present: bool,
    at: datetime,
    group: str = "",
    event_id: str | None = None,
) -> OutcomeEvent:
    """A coder looked for a theme in an interview. `is_present` False: looked and did not find it."""
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        theme_coded=outcomes.ThemeCoded(
            study_code=study, theme=theme, coder_ref=coder, is_present=is_present
        ),
    )


def cost_recorded(
    *,
    participant: str,
    category: outcomes.CostCategory.ValueType,
    currency: str,
    amount: float,
    at: datetime,
    study: str = "",
    group: str = "",
    event_id: str | None = None,
) -> OutcomeEvent:
    """`amount`: 0 or more, in units of `currency` (ISO 4217, as `GBP`), not in pence or cents."""
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        cost_recorded=outcomes.CostRecorded(
            category=category, currency=currency, amount=amount, study_code=study
        ),
    )


def outcome_event_retracted(
    *, participant: str, retracted_event_id: str, at: datetime, group: str = "", event_id: str | None = None
) -> OutcomeEvent:
    """Takes back one of your outcome events."""
    return OutcomeEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        participant_ref=participant,
        group_ref=group,
        event_retracted=EventRetracted(retracted_event_id=retracted_event_id),
    )


def group_registered(
    *,
    group: str,
    at: datetime,
    format: groups.GroupFormat.ValueType = groups.GROUP_FORMAT_UNSPECIFIED,
    moderation: groups.Moderation.ValueType = groups.MODERATION_UNSPECIFIED,
    condition: groups.Condition.ValueType = groups.CONDITION_UNSPECIFIED,
    population: groups.Population.ValueType = groups.POPULATION_UNSPECIFIED,
    capacity: int | None = None,
    time_zone: str = "",
    reads_collected: bool | None = None,
    event_id: str | None = None,
) -> GroupEvent:
    """What a group is. `capacity`: places, None: no limit; `time_zone`: IANA name, empty: UTC;
    `reads_collected`: whether you post `thread_read`.
    """
    facts = groups.GroupFacts(
        format=format,
        moderation=moderation,
        condition=condition,
        population=population,
        capacity=capacity,
        time_zone=time_zone,
        reads_collected=reads_collected,
    )
    return GroupEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        group_registered=groups.GroupRegistered(facts=facts),
    )


def group_changed(
    *,
    group: str,
    at: datetime,
    format: groups.GroupFormat.ValueType = groups.GROUP_FORMAT_UNSPECIFIED,
    moderation: groups.Moderation.ValueType = groups.MODERATION_UNSPECIFIED,
    condition: groups.Condition.ValueType = groups.CONDITION_UNSPECIFIED,
    population: groups.Population.ValueType = groups.POPULATION_UNSPECIFIED,
    capacity: int | None = None,
    time_zone: str = "",
    reads_collected: bool | None = None,
    event_id: str | None = None,
) -> GroupEvent:
    """What is different from now on, as in `group_registered`; what is not given keeps its value."""
    facts = groups.GroupFacts(
        format=format,
        moderation=moderation,
        condition=condition,
        population=population,
        capacity=capacity,
        time_zone=time_zone,
        reads_collected=reads_collected,
    )
    return GroupEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        group_changed=groups.GroupChanged(facts=facts),
    )


def group_closed(*, group: str, at: datetime, event_id: str | None = None) -> GroupEvent:
    """A group is no more."""
    return GroupEvent(
        event_id=_id(event_id), occurred_at=_time(at), group_ref=group, group_closed=groups.GroupClosed()
    )


def group_event_retracted(
    *, group: str, retracted_event_id: str, at: datetime, event_id: str | None = None
) -> GroupEvent:
    """Takes back one of your group events."""
    return GroupEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        group_ref=group,
        event_retracted=EventRetracted(retracted_event_id=retracted_event_id),
    )


def study_registered(
    *,
    study: str,
    design: studies.StudyDesign.ValueType,
    at: datetime,
    result: studies.StudyResult.ValueType = studies.STUDY_RESULT_UNSPECIFIED,
    risk_of_bias: studies.RiskOfBias.ValueType = studies.RISK_OF_BIAS_UNSPECIFIED,
    publication_year: int = 0,
    doi: str = "",
    covariates: Mapping[str, float] | None = None,
    attributes: Mapping[str, str | Sequence[str]] | None = None,
    event_id: str | None = None,
) -> StudyEvent:
    """`publication_year` 0 and `doi` empty: unpublished. `covariates`: numbers that describe the study.

    `attributes`: codes of what kind of study it is, as `{"modality": "forum", "condition": ["depression",
    "anxiety"]}`.
    """
    return StudyEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        study_code=study,
        study_registered=studies.StudyRegistered(
            design=design,
            result=result,
            risk_of_bias=risk_of_bias,
            publication_year=publication_year,
            doi=doi,
            covariates=[
                studies.StudyCovariate(code=code, value=value) for code, value in (covariates or {}).items()
            ],
            attributes=[
                studies.StudyAttribute(code=code, value=value)
                for code, values in (attributes or {}).items()
                for value in ([values] if isinstance(values, str) else values)
            ],
        ),
    )


def arm_summarised(
    *,
    study: str,
    arm: str,
    outcome: str,
    n: int,
    at: datetime,
    mean: float | None = None,
    sd: float | None = None,
    events: int | None = None,
    instrument: str = "",
    time_point: str = "",
    event_id: str | None = None,
) -> StudyEvent:
    """One arm's outcome over `n` people: `mean` and `sd` in the instrument's points, or `events` of n."""
    return StudyEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        study_code=study,
        arm_summarised=studies.ArmSummarised(
            arm=arm,
            outcome=outcome,
            instrument=instrument,
            time_point=time_point,
            n=n,
            mean=mean,
            sd=sd,
            events=events,
        ),
    )


def effect_estimated(
    *,
    study: str,
    arm: str,
    comparison_arm: str,
    outcome: str,
    scale: studies.EffectScale.ValueType,
    estimate: float,
    standard_error: float,
    at: datetime,
    instrument: str = "",
    time_point: str = "",
    event_id: str | None = None,
) -> StudyEvent:
    """The effect of `arm` against `comparison_arm`; `estimate` and `standard_error` are on `scale`."""
    return StudyEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        study_code=study,
        effect_estimated=studies.EffectEstimated(
            arm=arm,
            comparison_arm=comparison_arm,
            outcome=outcome,
            instrument=instrument,
            time_point=time_point,
            scale=scale,
            estimate=estimate,
            standard_error=standard_error,
        ),
    )


def study_event_retracted(
    *, study: str, retracted_event_id: str, at: datetime, event_id: str | None = None
) -> StudyEvent:
    """Takes back one of your study events."""
    return StudyEvent(
        event_id=_id(event_id),
        occurred_at=_time(at),
        study_code=study,
        event_retracted=EventRetracted(retracted_event_id=retracted_event_id),
    )


def _id(given: str | None) -> str:
    return str(uuid.uuid4()) if given is None else given


def _time(at: datetime) -> Timestamp:
    if at.utcoffset() is None:
        raise ValueError(f"at={at.isoformat()} has no time zone: give an aware one, as datetime.now(UTC)")
    time = Timestamp()
    time.FromDatetime(at)
    return time

"""Rules of the marts, as conditions that every row fulfils. They are counted by tenant in one scan of a mart.

At the door of the raw tables partners' data are judged; here our own arithmetic is. So a rule blocks when no
data of a partner can break it, only a model that is wrong or was not computed anew. What a partner can break,
and an operator may have let in, warns. Which columns a mart has is dbt's contract.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import yaml
from circles.common.v1 import common_pb2
from circles.participation.v1 import participation_event_pb2

from pipelines.quality.rules import Rule, Suite, codes, is_between, kinds, warns
from pipelines.quality.schema import SCHEMA

CONTRACTS = Path(__file__).parents[3] / "dbt" / "models" / "marts" / "_marts__models.yml"

OURS = "No data of a partner can break it: the model is wrong, or was not computed anew."
THEIRS = "The partner sent it so; an operator may have let it in."

MIN_DAYS, MAX_FACTOR = 3, 2.0
"""So many days with a build make volume and figures usual, and so far they may then be from the median."""

MIN_SMALLER = 0.8
"""A mart may shrink: events are taken back. By more than a fifth is unusual."""

VOLUME = warns(
    is_between("volume", MIN_SMALLER, MAX_FACTOR, "volume_is_usual"),
    "Rows were lost or counted twice, or a partner brought much at once.",
)
FIGURES = warns(
    is_between("figures", None, MAX_FACTOR, "figures_are_usual"),
    "A mean or a share has moved far from where it was in the last four weeks.",
)


@dataclass(frozen=True)
class Condition:
    """A rule that is broken by so many rows as do not fulfil all of `holds`, SQL each. NULL fulfils."""

    rule: Rule
    holds: tuple[str, ...]


@dataclass(frozen=True)
class Parent:
    """A dimension that rows refer to by `column`. In conditions its columns begin with `alias`.

    `named`: what the dimension calls that column, where it is not the same.
    """

    alias: str
    mart: str
    column: str
    also: tuple[str, ...] = ()
    named: str = ""

    @property
    def key(self) -> str:
        return self.named or self.column


@dataclass(frozen=True)
class Mart:
    """What a mart is held against. `figures`: means and shares by name, SQL aggregates each.

    `has_instruments`: conditions may use the range of the row's scale, `least_total` and `most_total`.
    """

    name: str
    conditions: tuple[Condition, ...]
    parents: tuple[Parent, ...] = ()
    figures: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_instruments(self) -> bool:
        return "instrument_version" in columns_of(self.name) and "score" in columns_of(self.name)

    @property
    def rules(self) -> tuple[Rule, ...]:
        counted = tuple(each.rule for each in self.conditions)
        return (SCHEMA, *counted, VOLUME, *((FIGURES,) if self.figures else ()))

    @property
    def suite(self) -> Suite:
        """The rules that are about rows: those on a frame of one row per tenant."""
        rules = self.rules[1:]
        return Suite(f"marts.{self.name}", tuple(str(rule.arguments["column"]) for rule in rules), rules)


GROUP = Parent("groups", "dim_group", "group_id")
PERSON = Parent("people", "dim_participant", "participant_id", ("has_research_consent",))
STUDY = Parent("studies", "dim_study", "study_code")


def mart(
    name: str,
    *conditions: Condition,
    parents: tuple[Parent, ...] = (),
    figures: Mapping[str, str] | None = None,
) -> Mart:
    """A mart with the conditions of all, those that follow from its columns and parents, and its own."""
    columns = columns_of(name)
    common = [
        _holds("data_class_is_known", f"data_class IN ({_listed(codes(common_pb2.DataClass.DESCRIPTOR))})"),
        *_counts(columns),
        *_shares(columns),
        *(_refers(each) for each in parents),
    ]
    return Mart(name, (*common, *conditions), parents, figures or {})


@cache
def contracts() -> Mapping[str, Mapping[str, str]]:
    """Type by column, by mart. `fct_build` is about no tenant, and not judged."""
    models = yaml.safe_load(CONTRACTS.read_text())["models"]
    found = {
        model["name"]: {column["name"]: column["data_type"] for column in model["columns"]}
        for model in models
    }
    return {name: columns for name, columns in found.items() if "tenant_id" in columns}


def columns_of(name: str) -> Mapping[str, str]:
    return contracts()[name]


def _holds(name: str, *conditions: str, why: str = OURS) -> Condition:
    return Condition(
        Rule(name, "ExpectColumnValuesToBeBetween", {"column": name, "max_value": 0}, why=why), conditions
    )


def _warns(name: str, *conditions: str, why: str = THEIRS) -> Condition:
    made = _holds(name, *conditions)
    return Condition(warns(made.rule, why), made.holds)


def _counts(columns: Iterable[str]) -> Iterable[Condition]:
    counts = [each for each in columns if each.startswith("count_")]
    return [_holds("counts_are_not_negative", *(f"{each} >= 0" for each in counts))] if counts else []


def _shares(columns: Iterable[str]) -> Iterable[Condition]:
    ends = ("_share", "_rate", "_gini", "stickiness", "reciprocity", "_rate_1h", "_rate_24h")
    shares = [each for each in columns if each.endswith(ends)]
    return (
        [_holds("shares_are_between_0_and_1", *(f"{each} BETWEEN 0 AND 1" for each in shares))]
        if shares
        else []
    )


def _refers(parent: Parent) -> Condition:
    column = parent.column
    name = f"{column.removesuffix('_id').removesuffix('_code')}_is_known"
    condition = f"{column} IS NULL OR {parent.alias}_is_there IS NOT NULL"
    if parent.mart == "dim_study":
        return _warns(name, condition, why="A partner may measure for a study that nobody has registered.")
    return _holds(name, condition)


def _fits(*conditions: str) -> Condition:
    return _holds("parts_fit_their_wholes", *conditions)


def _in_order(*conditions: str) -> Condition:
    return _holds("times_are_in_order", *conditions)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"'{each}'" for each in words)


_CONSENT = _holds(
    "consent_is_that_of_the_person",
    "has_research_consent = people_has_research_consent",
    "participant_id IS NOT NULL OR NOT has_research_consent",
    why="Whoever has not consented, or has withdrawn, must be in no evidence.",
)
_NOT_AHEAD = "now() + INTERVAL 1 DAY"

MARTS: Mapping[str, Mart] = {
    each.name: each
    for each in (
        mart(
            "dim_group",
            _in_order("first_event_at <= last_event_at"),
            _fits("is_registered = (registered_at IS NOT NULL)", "is_closed = (closed_at IS NOT NULL)"),
            _warns("closed_after_it_was_registered", "registered_at <= closed_at"),
            _warns("capacity_is_not_negative", "capacity >= 0"),
        ),
        mart(
            "dim_participant",
            _in_order("first_event_at <= last_event_at"),
            _holds(
                "consent_has_a_basis",
                "consent_basis IN ('recorded', 'published_data')",
                "(consent_basis = 'published_data') = (data_class = 'public')",
                "NOT has_research_consent OR consent_basis = 'published_data' "
                "OR research_consent_stated_at IS NOT NULL",
                why="Whoever has not consented must be in no evidence.",
            ),
            figures={"share with consent": "avg(CAST(has_research_consent AS INTEGER))"},
        ),
        mart(
            "dim_study",
            _warns("publication_year_is_in_range", "publication_year BETWEEN 0 AND 2100"),
        ),
        mart(
            "dim_study_covariate",
            _holds("covariate_is_a_number", "isfinite(covariate_value)"),
            parents=(STUDY,),
        ),
        mart("dim_study_attribute", parents=(STUDY,)),
        mart(
            "dim_participant_age",
            _in_order("stated_at < next_stated_at"),
            _CONSENT,
            parents=(PERSON,),
        ),
        mart(
            "dim_participant_covariate",
            _CONSENT,
            parents=(PERSON, STUDY),
        ),
        mart(
            "fct_cost",
            _holds("amount_is_a_number", "isfinite(cost_amount)", "cost_amount >= 0"),
            _CONSENT,
            parents=(PERSON, STUDY),
        ),
        mart(
            "fct_group_engagement",
            _fits(
                "count_consented <= count_members",
                "count_active <= count_consented",
                "count_posters <= count_active",
                "count_posters_once <= count_posters",
                "count_posters <= count_posts",
                "count_attendances <= count_sessions_open",
                "count_sessions_open <= count_consented * count_sessions_held",
                "count_threads_with_reply <= count_threads",
            ),
            _in_order("first_event_at <= last_event_at"),
            parents=(GROUP,),
            figures={
                "mean of count_members": "avg(count_members)",
                "attendances ÷ sessions open": "sum(count_attendances) / nullif(sum(count_sessions_open), 0)",
            },
        ),
        mart(
            "fct_group_engagement_daily",
            _fits(
                "count_active_participants <= count_events",
                "count_joined + count_left + count_threads_started + count_replies + count_reactions "
                "+ count_reads + count_sessions_held + count_attendances + count_moderation_actions "
                "+ count_risks_raised <= count_events",
            ),
            _warns("occurred_on_is_not_in_the_future", f"occurred_on <= {_NOT_AHEAD}"),
            parents=(GROUP,),
            figures={"events of a day": "avg(count_events)"},
        ),
        mart(
            "fct_group_engagement_rolling",
            _holds("window_is_known", "window_hours IN (1, 24, 168, 672)"),
            _fits(
                "count_posts + count_reads + count_reactions <= count_events",
                "count_replies <= count_posts",
                "count_newcomers + count_returning = count_active_participants",
                "count_attendances <= count_places",
                "count_threads_answered + count_threads_unanswered = count_threads",
                "count_threads_followed_24h <= count_threads_followed_1h",
                "count_threads_followed_1h <= count_threads",
                "count_threads_answered_1h <= count_threads_followed_1h",
                "count_threads_answered_24h <= count_threads_followed_24h",
                "count_threads_moderated <= count_threads",
                "count_dyads_reciprocal <= count_dyads",
                "count_contributors <= count_posts",
                "count_posts_of_top <= count_posts",
            ),
            _holds(
                "medians_are_not_negative",
                "first_reply_median_seconds >= 0",
                "moderator_reply_median_seconds >= 0",
            ),
            _warns("as_of_is_not_in_the_future", f"as_of <= {_NOT_AHEAD}"),
            parents=(GROUP,),
        ),
        mart(
            "fct_group_membership",
            _fits(
                "count_sessions_attended <= count_sessions_open",
                "count_posts = count_threads_started + count_replies",
                "is_active = (count_sessions_attended + count_posts + count_reactions > 0)",
            ),
            _CONSENT,
            parents=(GROUP, PERSON),
            figures={
                "share with consent": "avg(CAST(has_research_consent AS INTEGER))",
                "share of the active": "avg(CAST(is_active AS INTEGER))",
            },
        ),
        mart(
            "fct_member_gap",
            _in_order(
                "epoch(gap_at) - epoch(first_joined_at) > 30 * 86400 - 1",
                "first_joined_at <= last_activity_at",
                "gap_at <= returned_at",
                "returned_at <= last_activity_at",
            ),
            _CONSENT,
            parents=(GROUP, PERSON),
        ),
        mart(
            "fct_outcome",
            _holds(
                "score_has_a_source",
                "(score IS NULL) = (scoring IS NULL)",
                "(score IS NULL) = (not_scored_reason IS NOT NULL)",
                "scoring IN ('total', 'sum_of_items', 'prorated')",
                "scoring = 'total' OR score IS NULL OR count_items > 0",
            ),
            _fits("NOT is_counted OR (study_code IS NOT NULL AND time_point IS NOT NULL)"),
            _CONSENT,
            _warns(
                "score_is_in_range_of_its_instrument",
                "isfinite(score)",
                "score BETWEEN least_total AND most_total",
            ),
            _warns("occurred_at_is_not_in_the_future", f"occurred_at <= {_NOT_AHEAD}"),
            parents=(PERSON, STUDY),
            figures={"mean score, of the range": "avg((score - least_total) / (most_total - least_total))"},
        ),
        mart(
            "fct_outcome_change",
            _fits(
                "(count_scores > 1) = (last_score IS NOT NULL)",
                "(last_score IS NULL) = (improvement IS NULL)",
                "abs(improvement) = abs(last_score - first_score)",
            ),
            _in_order("first_answered_at <= last_answered_at"),
            _CONSENT,
            parents=(PERSON, STUDY),
            figures={"mean of improvement": "avg(improvement)"},
        ),
        mart(
            "fct_participant_dose",
            _fits(
                "count_posts = count_threads_started + count_replies",
                "count_active_days BETWEEN 1 AND date_diff('day', first_activity_at, last_activity_at) + 1",
            ),
            _in_order("first_activity_at <= last_activity_at"),
            _CONSENT,
            _warns("attended_minutes_are_not_negative", "attended_minutes >= 0"),
            parents=(GROUP, PERSON),
            figures={"mean of count_active_days": "avg(count_active_days)"},
        ),
        mart(
            "fct_participation",
            _holds(
                "kind_is_known",
                f"kind IN ({_listed(kinds(participation_event_pb2.ParticipationEvent.DESCRIPTOR))})",
                "kind <> 'event_retracted'",
            ),
            _in_order("occurred_on = CAST(occurred_at AS DATE)"),
            _warns(
                "minutes_are_in_range",
                "attended_minutes BETWEEN 0 AND 1440",
                "session_minutes BETWEEN 0 AND 1440",
            ),
            _warns("occurred_at_is_not_in_the_future", f"occurred_at <= {_NOT_AHEAD}"),
            parents=(GROUP, PERSON),
            figures={
                "share of reads": "avg(CAST(kind = 'thread_read' AS INTEGER))",
                "share of posts": "avg(CAST(kind IN ('thread_started', 'reply_posted') AS INTEGER))",
                "share of late events": "avg(CAST(is_late AS INTEGER))",
            },
        ),
        mart(
            "fct_reply_edge",
            _in_order("first_replied_at <= last_replied_at"),
            _holds(
                "consent_is_that_of_both",
                "has_research_consent = (senders_has_research_consent AND receivers_has_research_consent)",
                why="Whoever has not consented, or has withdrawn, must be in no evidence.",
            ),
            parents=(
                GROUP,
                replace(PERSON, alias="senders", column="from_participant_id", named="participant_id"),
                replace(PERSON, alias="receivers", column="to_participant_id", named="participant_id"),
            ),
            figures={"replies of an edge": "avg(count_replies)"},
        ),
        mart(
            "fct_study_arm_change",
            _fits(
                "count_paired <= count_started",
                "count_improved + count_deteriorated <= count_paired",
                "count_cases <= count_paired",
                "count_crossed <= count_cases",
                "count_recovered <= count_crossed",
                "count_recovered <= count_improved",
            ),
            parents=(STUDY,),
        ),
        mart(
            "fct_study_arm_outcome",
            _fits(
                "count_consented <= count_allocated",
                "count_scored <= count_consented",
                "(count_scored = 0) = (mean IS NULL)",
                "sd IS NULL OR count_scored > 1",
                "sd >= 0",
            ),
            _in_order("first_answered_at <= last_answered_at"),
            parents=(STUDY,),
        ),
        mart(
            "fct_study_arm_recovery",
            _fits(
                "count_finished <= count_paired",
                "count_finished_cases <= count_finished",
                "count_recovered <= count_finished_cases",
                "count_reliably_recovered <= count_recovered",
                "count_reliably_improved + count_reliably_deteriorated <= count_finished",
            ),
            parents=(STUDY,),
        ),
        mart(
            "fct_study_change_criterion",
            _fits(
                "(reliable_change IS NULL) = (reliable_change_basis IS NULL)",
                "(cut_off IS NULL) = (cut_off_basis IS NULL)",
            ),
            _holds("a_change_is_more_than_nothing", "reliable_change >= 0", "first_sd >= 0"),
            parents=(STUDY,),
        ),
        mart(
            "fct_study_report",
            _fits(
                "count_people_with_event <= count_people",
                "(mean IS NULL) = (sd IS NULL)",
                "(kind = 'effect_estimated') = (estimate IS NOT NULL)",
                "(estimate IS NULL) = (standard_error IS NULL)",
            ),
            _holds("standard_errors_are_positive", "standard_error > 0", "sd >= 0"),
            parents=(STUDY,),
        ),
        mart(
            "fct_thread",
            _fits(
                "(starter_participant_id IS NULL) = (started_at IS NULL)",
                "starter_participant_id IS NOT NULL OR NOT has_research_consent",
                "count_messages > 0 OR first_reply_at IS NULL",
            ),
            _holds(
                "consent_is_that_of_the_starter",
                "has_research_consent = starters_has_research_consent",
                why="Whoever has not consented, or has withdrawn, must be in no evidence.",
            ),
            parents=(
                GROUP,
                replace(PERSON, alias="starters", column="starter_participant_id", named="participant_id"),
            ),
            figures={"share answered": "avg(CAST(first_reply_at IS NOT NULL AS INTEGER))"},
        ),
        # The study is a protocol's: no partner registers it.
        mart(
            "fct_feature_authors",
            _fits(
                "count_before <= count_authors",
                "count_after <= count_authors",
                "count_both <= count_before",
                "count_both <= count_after",
                "count_about_before <= count_before",
                "count_about_after <= count_after",
                "count_both_about_before <= count_both",
                "count_both_about_before <= count_about_before",
                "count_both_about_after <= count_both",
                "count_both_about_after <= count_about_after",
                "count_both_about_both <= count_both_about_before",
                "count_both_about_both <= count_both_about_after",
            ),
            _in_order("first_posted_on <= last_posted_on"),
            parents=(GROUP,),
        ),
        mart(
            "fct_feature_series",
            _fits(
                "count_authors <= count_posts",
                "count_authors_about <= count_authors",
                "count_authors_about <= count_posts_about",
                "count_posts_about <= count_posts",
            ),
            _holds("a_step_has_days", "step_days > 0"),
            parents=(GROUP,),
        ),
        mart(
            "fct_feature_trend",
            _fits(
                "count_authors_with_value <= count_authors",
                "count_bins <= count_authors_with_value",
                "(slope IS NULL) = (r_squared IS NULL)",
                "(slope IS NULL) = (slope_times_r_squared IS NULL)",
                "slope IS NULL OR count_bins >= 3",
            ),
            # Rounding may put it beyond 1.
            _holds("r_squared_is_a_share", "r_squared BETWEEN 0 AND 1.000000001"),
            parents=(GROUP,),
        ),
        mart(
            "fct_survey_answer",
            _CONSENT,
            _warns("weight_is_above_0", "isfinite(survey_weight)", "survey_weight > 0"),
            _warns("answered_at_is_not_in_the_future", f"answered_at <= {_NOT_AHEAD}"),
            parents=(PERSON,),
            figures={"mean of survey_weight": "avg(survey_weight)"},
        ),
        mart(
            "fct_theme_coding",
            _CONSENT,
            _warns("coded_at_is_not_in_the_future", f"coded_at <= {_NOT_AHEAD}"),
            parents=(PERSON, STUDY),
            figures={"share of themes found": "avg(CAST(is_present AS INTEGER))"},
        ),
    )
}
"""By name."""

"""The table of moderation: definitions of Hsiung and Geramita, kinds compared, and what cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.builds.evidence import suite_of
from pipelines.defs.evidence.plots import plot_of
from pipelines.evidence.communities import CLASSES
from pipelines.evidence.literature import figures as printed
from pipelines.evidence.professional_moderation import professional_moderation
from pipelines.evidence.protocols import ModeratedGroups
from pipelines.evidence.rows import PROFESSIONAL_MODERATION
from pipelines.publication.disclosure import control
from pipelines.quality.expectations import check
from services.simulator.published import geramita, psycho_babble
from tests.fakes.inputs import inputs

START = datetime(2000, 1, 1, tzinfo=UTC)
END = START + timedelta(days=243)
Row = dict[str, Any]
NEVER = float("nan")


def unit(**told: Any) -> Row:
    row: Row = {
        "study": "synthetic-moderation", "tenant_id": "t", "moderation": None, "group_id": None,
        "data_class": "synthetic", "has_reads_collected": True, "count_groups": 1, "count_members": 0,
        "count_consented": 0, "from_at": START, "until_at": END,
    }  # fmt: skip
    return row | told


def member(person: object, **told: Any) -> Row:
    row: Row = {
        "study": "synthetic-moderation", "tenant_id": "t", "moderation": "none", "group_id": "g",
        "participant_id": str(person), "joined_at": START, "is_followed": True, "count_posts": 0,
        "has_acted": True, "followed_days": 243.0, "gap_days": NEVER, "completed_days": NEVER,
        "ended_days": NEVER, "has_returned": False, "member_weeks": 34.0,
    }  # fmt: skip
    return row | told


def thread(person: object, **told: Any) -> Row:
    row: Row = {
        "study": "synthetic-moderation", "tenant_id": "t", "moderation": "none", "group_id": "g",
        "participant_id": str(person), "count_messages": 1, "followed_hours": 2400.0, "reply_hours": NEVER,
        "moderator_hours": NEVER, "closed_hours": NEVER,
    }  # fmt: skip
    return row | told


def network(**told: Any) -> Row:
    row: Row = {
        "study": "synthetic-moderation", "tenant_id": "t", "moderation": "none", "group_id": "g",
        "count_dyads": 3, "count_mutual": 1, "max_in_degree": 2, "sum_in_degree": 4,
    }  # fmt: skip
    return row | told


def table(**frames: list[Row]) -> pd.DataFrame:
    """After disclosure control."""
    return control(
        professional_moderation(inputs(**{f"moderated_{name}": rows for name, rows in frames.items()}))
    )


def broken_rules(rows: pd.DataFrame) -> list[Any]:
    suite = suite_of(PROFESSIONAL_MODERATION)
    there = rows.assign(release_id=1, lake_snapshot=1, code_version="c", computed_at=START)
    found = check(suite.derive(there), suite, "tenant")
    return [(each.rule, each.sample, each.problem) for each in found if not each.passed]


def told(rows: pd.DataFrame, **where: str | None) -> dict[tuple[str, str | None], Any]:
    """Rows by name and part, of one unit."""
    for column in ("group_id", "moderation", "reference_moderation"):
        value = where.get(column)
        rows = rows[rows[column].isna() if value is None else rows[column] == value]
    return {(each.estimate_name, each.part): each for each in rows.itertuples()}  # type: ignore[misc]


def literature(study: str) -> Mapping[tuple[str, str | None], float | None]:
    return {(each.estimate_name, each.part): each.estimate for each in printed() if each.study == study}


# --- Definitions ------------------------------------------------------------------------------------------


def test_a_history_like_psycho_babbles_has_its_seven_figures() -> None:
    authors, threads = psycho_babble()
    asked = {"study": "hsiung-2000", "moderation": "professional"}
    starters = authors[np.unique(threads, return_index=True)[1]]
    rows = table(
        units=[unit(**asked, count_members=1516, count_consented=1516)],
        members=[member(i, **asked, count_posts=n) for i, n in enumerate(np.bincount(authors))],
        threads=[
            thread(who, **asked, count_messages=n)
            for who, n in zip(starters, np.bincount(threads), strict=True)
        ],
    )
    found, known = told(rows, moderation="professional"), literature("hsiung-2000")
    names = {
        "people_who_posted": 0, "messages": 0, "threads": 0, "posted_once_share": 2,
        "initial_post_only_share": 2, "posts_per_poster": 3, "posts_per_thread": 3,
    }  # fmt: skip
    for name, digits in names.items():
        row = found[name, None]
        assert round(row.estimate, digits) == known[name, "January to August 2000"], name
        assert (row.data_class, row.suppressed, row.design) == ("synthetic", False, "descriptive")


def test_members_like_those_of_geramita_have_the_five_classes() -> None:
    posts, has_logged_in = geramita()
    asked = {"study": "geramita-2018", "moderation": "professional"}
    rows = table(
        units=[unit(**asked, count_members=302, count_consented=302)],
        members=[
            member(i, **asked, count_posts=n, has_acted=bool(seen))
            for i, (n, seen) in enumerate(zip(posts, has_logged_in, strict=True))
        ],
    )
    found, known = told(rows, moderation="professional"), literature("geramita-2018")
    for name in ("superusers", "top contributors", "contributors", "observers", "never logged in"):
        row = found["people_in_class", name]
        assert (row.estimate, row.denominator) == (known["people_in_class", name], 302)
    share = found["content_percent", "superusers"]
    assert round(share.estimate, 1) == known["content_percent", "superusers"] == 42.3
    assert (share.n, share.denominator) == (3, 1488)
    ranks = [found["content_percent", part].estimate for part in ("top 1 %", "next 9 %", "other 90 %")]
    assert ranks[0] == share.estimate and sum(ranks) == pytest.approx(100)


def test_without_reads_observers_are_not_told_apart() -> None:
    rows = table(
        units=[unit(moderation="none", has_reads_collected=False, count_members=2, count_consented=2)],
        members=[member(1, count_posts=3), member(2)],
    )
    found = told(rows, moderation="none")
    for name in ("observers", "never logged in"):
        assert found["people_in_class", name].not_estimated_reason == "reads are not collected"
    assert len(CLASSES) == 5


# --- Waits ------------------------------------------------------------------------------------------------


def test_replies_come_or_are_forestalled() -> None:
    """Of four threads one was answered after 30 minutes, one after 10 hours, one removed after 5 hours, and
    one still waits: Kaplan–Meier 3/4, and 3/4 · 1/2; Aalen–Johansen 1/4, and 1/4 + 3/4 · 2/3 · 1/2."""
    rows = table(
        units=[unit(moderation="none", count_members=4, count_consented=4)],
        members=[member(i, count_posts=1) for i in range(4)],
        threads=[
            thread(0, reply_hours=0.5, moderator_hours=20.0), thread(1, reply_hours=10.0),
            thread(2, closed_hours=5.0), thread(3),
        ],
    )  # fmt: skip
    found = told(rows, moderation="none")
    shares = {part: found["replied_share", part].estimate for part in ("0.25 h", "1 h", "24 h")}
    assert shares == pytest.approx({"0.25 h": 0, "1 h": 0.25, "24 h": 0.5})
    assert found["closed_share", "24 h"].estimate == pytest.approx(0.25)
    assert found["unanswered_share", "24 h"].estimate == pytest.approx(3 / 8)
    assert found["first_reply_median_hours", None].estimate == 10.0
    assert found["unanswered_mean_hours", "of 24 h"].estimate == pytest.approx(0.5 + 9.5 * 0.75 + 14 * 0.375)
    assert found["moderator_replied_share", "24 h"].estimate == pytest.approx(0.25)
    median = found["moderator_reply_median_hours", None]
    assert (median.estimate, median.not_estimated_reason) == (None, "median not reached")
    for row in (found["replied_share", "1 h"], found["unanswered_share", "24 h"]):
        assert "over people with threads in one group" in row.method and row.denominator_unit == "threads"
    assert (found["replied_share", "1 h"].n, found["replied_share", "1 h"].denominator) == (4, 4)


def test_members_fall_silent_or_complete_the_group() -> None:
    rows = table(
        units=[unit(moderation="none", count_members=5, count_consented=4)],
        members=[
            member(0, gap_days=30.0, has_returned=True),
            member(1, completed_days=20.0, gap_days=45.0),
            member(2, followed_days=40.0, joined_at=START + timedelta(days=203)),
            member(3, gap_days=80.0),
        ],
    )
    found = told(rows, moderation="none")
    assert found["dropout_share", "30 days"].estimate == pytest.approx(0.25)
    assert found["dropout_share", "90 days"].estimate == pytest.approx(0.25 + 0.5)
    assert found["completed_share", "30 days"].estimate == pytest.approx(0.25)
    back = found["returned_after_gap", None]
    assert (back.estimate, back.denominator, back.n) == (1, 2, 2)
    assert found["retained_share", "joined 2000-01, 30 days"].estimate == pytest.approx(2 / 3)
    late = found["retained_share", "joined 2000-07, 60 days"]
    assert late.not_estimated_reason == "nobody was followed for so long"
    assert (back.n_consented, back.n_excluded) == (4, 1)


def test_of_one_group_the_network_is_described_and_of_several_it_has_an_interval() -> None:
    members = [member(i, group_id=g, count_posts=1) for i in range(12) for g in ("g", "h", "i")]
    units = [unit(moderation="none", count_groups=3, count_members=12, count_consented=12)]
    three = [network(group_id=g, count_mutual=m) for g, m in (("g", 1), ("h", 2), ("i", 1))]
    found = told(table(units=units, members=members, networks=three), moderation="none")
    row = found["reciprocity", None]
    assert (row.estimate, row.denominator) == (pytest.approx(4 / 9), 9)
    assert row.ci_low < 4 / 9 < row.ci_high and "over groups" in row.method
    assert found["in_degree_centralisation", None].estimate == pytest.approx((12 * 2 - 4) / 11**2)
    one = table(
        units=[unit(moderation="none", count_members=12, count_consented=12)],
        members=[each for each in members if each["group_id"] == "g"], networks=three[:1],
    )  # fmt: skip
    found = told(one, moderation="none")
    for name, value in (("reciprocity", 1 / 3), ("in_degree_centralisation", 20 / 121)):
        row = found[name, None]
        assert (row.estimate, row.ci_low) == (pytest.approx(value), None)
        assert row.not_estimated_reason == "no interval: a description of everybody"


# --- Kinds ------------------------------------------------------------------------------------------------


def community(groups: int, **more: Any) -> dict[str, list[Row]]:
    """Groups without moderation and with that of peers, where replies come sooner."""
    random = np.random.default_rng(1)
    frames: dict[str, list[Row]] = {"units": [], "members": [], "threads": [], "networks": []}
    for kind, hours in (("none", 60.0), ("peer", 20.0)):
        names = [f"{kind}-{i}" for i in range(groups)]
        size = 20 * groups
        frames["units"].append(
            unit(moderation=kind, count_groups=groups, count_members=size, count_consented=size, **more)
        )
        for name in names:
            frames["units"].append(
                unit(moderation=kind, group_id=name, count_members=20, count_consented=20, **more)
            )
            place = {"moderation": kind, "group_id": name}
            pace = hours * random.lognormal(0, 0.3)
            for i in range(20):
                gap = random.exponential(150) + 30
                found = {"gap_days": gap if gap < 243 else NEVER, "count_posts": int(random.integers(0, 9))}
                frames["members"].append(member(f"{name}-{i}", **place, **found))
                frames["threads"].append(
                    thread(f"{name}-{i}", **place, reply_hours=random.exponential(pace), count_messages=3)
                )
            frames["networks"].append(network(**place))
    everybody = 2 * 20 * groups
    frames["units"].append(
        unit(count_groups=2 * groups, count_members=everybody, count_consented=everybody, **more)
    )
    return frames


def test_kinds_are_compared_with_intervals_over_groups() -> None:
    rows = table(**community(6))
    assert broken_rules(rows) == []
    found = told(rows, moderation="peer", reference_moderation="none")
    peer, none = (told(rows, moderation=kind) for kind in ("peer", "none"))
    row = found["replied_share_difference", "24 h"]
    assert row.estimate == pytest.approx(
        peer["replied_share", "24 h"].estimate - none["replied_share", "24 h"].estimate
    )
    assert row.estimate > 0 and row.ci_low < row.estimate < row.ci_high
    assert "groups of threads" in row.method and row.design == "cohort"
    assert (row.n, row.n_arm, row.n_reference, row.k) == (240, 120, 120, 12)
    names = {name for name, _ in found}
    assert names == {
        "replied_share_difference", "unanswered_mean_hours_difference", "dropout_share_difference",
        "messages_per_member_week_difference",
    }  # fmt: skip
    assert {part for name, part in found if name == "replied_share_difference"} == {"1 h", "24 h"}
    contrasts = rows["contrast"].dropna()
    assert len(contrasts) == len(found) and contrasts.str.contains("associated with").all()
    assert len(told(rows, group_id="peer-3", moderation="peer"))
    assert told(rows)["people_who_posted", None].denominator == 240


def test_one_group_of_a_kind_is_not_separable_from_it() -> None:
    rows = table(**community(1))
    found = told(rows, moderation="peer", reference_moderation="none")
    assert {(each.estimate, each.not_estimated_reason) for each in found.values()} == {
        (None, "not separable from group")
    }


def test_a_small_group_keeps_back_the_others_of_its_kind_beside_the_whole() -> None:
    frames = community(6, data_class="live")
    small = frames["units"][1]
    assert small["group_id"] == "none-0"
    frames["members"] = [
        each
        for each in frames["members"]
        if each["group_id"] != "none-0" or each["participant_id"][-1] in "123"
    ]
    frames["threads"] = [
        each
        for each in frames["threads"]
        if each["group_id"] != "none-0" or each["participant_id"][-1] == "1"
    ]
    rows = table(**frames)
    gini = rows[rows["estimate_name"] == "contribution_gini"]
    of_groups = gini[gini["group_id"].notna()]
    assert of_groups["suppressed"].sum() == 0  # 20 consent in each; their posts are zero
    shares = rows[(rows["estimate_name"] == "replied_share") & (rows["part"] == "24 h")]
    assert shares[shares["group_id"].notna()]["suppressed"].all()


# --- Nothing to tell --------------------------------------------------------------------------------------


DEGENERATE: dict[str, tuple[list[Row], list[Row]]] = {
    "nobody": ([], []),
    "nothing": ([member(1)], []),
    "one poster": ([member(1, count_posts=9)], [thread(1)]),
    "one removed": ([member(1, count_posts=9)], [thread(1, closed_hours=0.0)]),
    "all removed": (
        [member(i, count_posts=1) for i in range(3)],
        [thread(i, closed_hours=2.0) for i in range(3)],
    ),
    "no reply": ([member(i, count_posts=1) for i in range(3)], [thread(i) for i in range(3)]),
    "no time": (
        [member(i, followed_days=0.0) for i in range(3)],
        [thread(i, followed_hours=0.0) for i in range(3)],
    ),
    "before the period": ([member(1, is_followed=False, member_weeks=0.0)], []),
}


def test_degenerate_communities_have_all_rows_with_reasons() -> None:
    expected = {key for key in told(table(**community(2)), moderation="none") if "joined" not in str(key[1])}
    frames: dict[str, list[Row]] = {"units": [], "members": [], "threads": []}
    for name, (members, threads) in DEGENERATE.items():
        n = len(members)
        frames["units"].append(unit(tenant_id=name, moderation="none", count_members=n, count_consented=n))
        frames["members"] += [each | {"tenant_id": name} for each in members]
        frames["threads"] += [each | {"tenant_id": name} for each in threads]
    rows = table(**frames)
    assert broken_rules(rows) == []
    for name in DEGENERATE:
        found = told(rows[rows["tenant"] == name], moderation="none")
        assert expected <= set(found)
        for row in found.values():
            assert row.estimate is None or np.isfinite(row.estimate)
            assert row.estimate is not None or row.not_estimated_reason
            assert row.ci_low is not None or row.not_estimated_reason or "count" in row.method


def test_everything_removed_leaves_no_median() -> None:
    rows = table(
        units=[unit(moderation="none", count_members=3, count_consented=3)],
        members=[member(i, count_posts=1) for i in range(3)],
        threads=[thread(i, closed_hours=2.0) for i in range(3)],
    )
    found = told(rows, moderation="none")
    assert found["first_reply_median_hours", None].not_estimated_reason == "median not reached"
    assert found["closed_share", "24 h"].estimate == 1
    assert found["replied_share", "24 h"].estimate == 0
    assert found["unanswered_share", "24 h"].not_estimated_reason == "nobody was followed for so long"


# --- Beside the rows --------------------------------------------------------------------------------------


def test_the_picture_is_drawn_from_shown_rows_only() -> None:
    rows = table(**community(3))
    assert plot_of(PROFESSIONAL_MODERATION.name, rows).startswith("![plot](data:image/png;base64,")
    hidden = rows.assign(suppressed=True)
    assert plot_of(PROFESSIONAL_MODERATION.name, hidden) == "Nothing to draw yet."
    for few in (rows[rows["estimate_name"] == "messages"], rows.assign(source_kind="literature")):
        assert plot_of(PROFESSIONAL_MODERATION.name, few).startswith("![plot]")


def test_nobody_draws_lots_for_moderation() -> None:
    with pytest.raises(ValueError, match="nobody draws lots"):
        ModeratedGroups(
            study="s", system="professional_moderation", version="1", dated=START.date(), population="p",
            design="randomised", reference_moderation="none",
        )  # fmt: skip

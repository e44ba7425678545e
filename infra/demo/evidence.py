"""The demo's last page: the evidence tables as an analyst reads them, and where to look further.

It asks the published views only, with an analyst's role.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import click

from infra.cli.sql import open_published
from infra.cli.tables import print_table
from infra.demo import bcg_trials, beat_the_blues, reviews, southern_women
from infra.demo.planted import came_out
from services.runtime.settings import StackSettings
from services.simulator import community, studies
from services.simulator.catalogue import COMMUNITIES, DEFINITION, Simulated
from services.simulator.telling import Figure

_COMPARISON = """
SELECT time_point,
       max(estimate) FILTER (WHERE estimate_name = 'n' AND arm = %(arm)s) AS n_arm,
       max(estimate) FILTER (WHERE estimate_name = 'mean' AND arm = %(arm)s) AS mean_arm,
       max(estimate) FILTER (WHERE estimate_name = 'sd' AND arm = %(arm)s) AS sd_arm,
       max(estimate) FILTER (WHERE estimate_name = 'n' AND arm = %(reference)s) AS n_reference,
       max(estimate) FILTER (WHERE estimate_name = 'mean' AND arm = %(reference)s) AS mean_reference,
       max(estimate) FILTER (WHERE estimate_name = 'sd' AND arm = %(reference)s) AS sd_reference,
       max(estimate) FILTER (WHERE estimate_name = 'hedges_g') AS hedges_g,
       max(ci_low) FILTER (WHERE estimate_name = 'hedges_g') AS ci_low,
       max(ci_high) FILTER (WHERE estimate_name = 'hedges_g') AS ci_high,
       bool_or(suppressed) AS suppressed
FROM evidence.carers_controlled
WHERE study = %(study)s AND tenant = %(tenant)s AND time_point IS NOT NULL
GROUP BY time_point
"""

_ENGAGEMENT = """
SELECT estimate_name, estimate, ci_low, ci_high, denominator, denominator_unit, suppressed
FROM evidence.group_engagement
WHERE tenant = %(tenant)s
ORDER BY estimate_name
"""

_POOLS = """
SELECT CASE estimate_name WHEN 'pooled' THEN 'by protocol (REML; Hartung-Knapp)' ELSE part END AS pooled_as,
       k, estimate, ci_low, ci_high
FROM evidence.group_peer_support_meta
WHERE tenant = %(tenant)s AND study = %(study)s AND (estimate_name = 'pooled'
   OR part IN ('fixed; Wald', 'DL; Wald', 'REML; Wald'))
ORDER BY estimate_name, part
"""

_LARGEST_GROUPS = """
SELECT group_id, people,
       max(estimate) FILTER (WHERE estimate_name = 'posts_per_poster') AS posts_per_poster,
       max(estimate) FILTER (WHERE estimate_name = 'posted_once_share') AS posted_once_share,
       max(estimate) FILTER (WHERE estimate_name = 'thread_reply_share') AS thread_reply_share,
       max(estimate) FILTER (WHERE estimate_name = 'attendance_rate') AS attendance_rate
FROM (
  SELECT *, max(estimate) FILTER (WHERE estimate_name = 'participants') OVER (PARTITION BY group_id) AS people
  FROM evidence.group_engagement WHERE tenant = %(tenant)s
) AS estimates
GROUP BY group_id, people ORDER BY people DESC LIMIT 5
"""

_COUNTS = """
WITH counts AS (
  SELECT tenant, study, estimate_name, part, estimate, denominator FROM evidence.youth_online_peer_support
  UNION ALL
  SELECT tenant, study, estimate_name, part, estimate, denominator FROM evidence.mutual_help
)
SELECT study, part, counts.estimate AS counted, printed.estimate AS printed, counts.denominator AS out_of
FROM counts JOIN counts AS printed USING (study, estimate_name, part)
WHERE counts.tenant = %(tenant)s AND printed.tenant = 'literature'
ORDER BY study, part
"""

_TERMS = """
SELECT outcome, part AS term, estimate, ci_low, ci_high, ci_level, n
FROM evidence.carers_controlled
WHERE study = %(study)s AND tenant = %(tenant)s AND estimate_name = 'mixed_coefficient'
ORDER BY outcome, part
"""

_WORDS = "n, mean and SD of the total; Hedges g with its 95 % interval, arm minus reference. Lower is better."


SIMULATED = (
    "psycho-babble", "geramita", "singapore", "moderation", "survey", "mens-groups", "features",
)  # fmt: skip
"""As `circles simulate` posts them by default: the same people, under the same ids."""


_PLANTED = ["estimate_name", "outcome", "part", "of", "printed", "planted", "estimate", "ci_low", "ci_high"]


def print_evidence(community_tenant: str) -> None:
    """Prints the sources' tables."""
    with contextlib.closing(open_published()) as connection:
        _title(
            "Beat-the-Blues trial (public data): a computerised programme against usual care, BDI-II.",
            "Not a support group. " + _WORDS,
        )
        arms = ("btheb", "tau")
        _print_comparison(connection, beat_the_blues.STUDY, beat_the_blues.TENANT, arms)
        _title("Attendance of 18 women at 14 events (public data; Davis, Gardner & Gardner 1941).", "")
        _print(connection, _ENGAGEMENT, {"tenant": southern_women.TENANT})
        _title(
            "13 trials of a vaccine, pooled (Colditz et al. 1994): log risk ratio of tuberculosis.",
            "Not support groups: the rows that meta-analysis is checked with. Below 0 favours the vaccine.",
        )
        _print(connection, _POOLS, {"tenant": bcg_trials.TENANT, "study": bcg_trials.STUDY})
        _title(
            "Studies that two reviews count (Ali et al. 2015; Pistrang et al. 2008), beside what they print.",
            "Each count is printed; which study has which combination is not.",
        )
        _print(connection, _COUNTS, {"tenant": reviews.TENANT})
        _title(
            "Carers in a group and others, made by a program: a mixed model over two later time points.",
            "Planted: the group -2, a point of wellbeing -0.3, no employment +1.5 points of distress (K10).",
        )
        _print(connection, _TERMS, {"tenant": studies.TENANT, "study": studies.CARERS})
        _title("A trial inside the synthetic community (about nobody), PHQ-9.", _WORDS)
        _print_comparison(connection, community.STUDY, community_tenant, community.ARMS)
        _title("Engagement of the five largest groups of the synthetic community (about nobody).", "")
        _print(connection, _LARGEST_GROUPS, {"tenant": community_tenant})
        for name in SIMULATED:
            _print_planted(connection, COMMUNITIES[name].simulated())


def print_where_to_look(*, is_kept: bool) -> None:
    """Addresses, or how to get them back."""
    if is_kept:
        port = StackSettings.load().dagster_port
        click.echo(f"Dagster: http://127.0.0.1:{port}   `circles status` shows the rest.")
    else:
        click.echo("Everything is stopped again; the data stay. `.venv/bin/circles up` opens it,")
        click.echo("then `circles status` shows the addresses (Dagster, gRPC, SQL).")
    click.echo('Tables: `circles sql --published "select * from evidence.carers_controlled"`')
    click.echo('What a column means: `circles sql --published "select * from evidence.data_dictionary"`')


def _title(first: str, second: str) -> None:
    click.echo()
    click.secho(first, bold=True)
    if second:
        click.echo(second)


def _print_comparison(connection: Any, study: str, tenant: str, arms: tuple[str, str]) -> None:
    arm, reference = arms
    values = {"study": study, "tenant": tenant, "arm": arm, "reference": reference}
    columns, rows = _ask(connection, _COMPARISON, values)
    # "month-10" comes after "month-2".
    rows.sort(key=lambda row: int("".join(filter(str.isdigit, row[0])) or 0))
    shown = [column.replace("_arm", f" {arm}").replace("_reference", f" {reference}") for column in columns]
    print_table(shown, [_rounded(row) for row in rows])


def _print_planted(connection: Any, simulated: Simulated) -> None:
    known = simulated.known
    is_definition = known.proof == DEFINITION
    _title(
        f"{known.title[0].upper()}{known.title[1:]}: {known.proof}, made by a program (about nobody).",
        "Must come out, beside what the table says."
        if is_definition
        else "Planted, beside what came back. Of twenty 95 % intervals one misses, on average.",
    )
    rows = [
        [each.figure.name, each.figure.outcome or None, each.figure.part or None, each.figure.of or None,
         each.figure.printed or None, float(each.figure.value), each.estimate, each.ci_low, each.ci_high]
        for each in came_out(connection, simulated) if _is_shown(each.figure)
    ]  # fmt: skip
    filled = [i for i in range(len(_PLANTED)) if any(row[i] is not None for row in rows)]
    print_table([_PLANTED[i] for i in filled], [[_rounded(row)[i] for i in filled] for row in rows])


def _is_shown(figure: Figure) -> bool:
    """Of what is many times alike one is enough."""
    return figure.name != "cohens_kappa" and figure.of not in ("recovering", "steady", "trained_peer")


def _print(connection: Any, statement: str, values: dict[str, str]) -> None:
    columns, rows = _ask(connection, statement, values)
    print_table(columns, [_rounded(row) for row in rows])


def _ask(connection: Any, statement: str, values: dict[str, str]) -> tuple[list[str], list[tuple[Any, ...]]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return [column.name for column in cursor.description], cursor.fetchall()


def _rounded(row: Sequence[Any]) -> list[Any]:
    """Three decimals; whole numbers without."""
    return [
        (int(value) if value.is_integer() else round(value, 3)) if isinstance(value, float) else value
        for value in row
    ]

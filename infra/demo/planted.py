"""What is planted in the simulated communities, or must come out of them, beside what the tables say.

It asks the published views, and this stack's own pseudonyms, since a table names no community. Which figures
there are is the simulator's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from services.ingestion.pseudonyms import KINDS, Pseudonymiser
from services.runtime.settings import IngestionSettings
from services.simulator.catalogue import Simulated
from services.simulator.telling import Figure

OF = {"professional_moderation": "moderation", "osg_prevalence": "model", "covid_change": "group_id"}
"""Which column tells of which groups, communities or model a row is."""

ONLY = {"professional_moderation": "AND group_id IS NULL AND reference_moderation IS NULL"}


class CameOut(NamedTuple):
    """A figure, and the row of it. All None: there is no such row, or it says why it has no number."""

    figure: Figure
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None

    def is_within(self, times: float = 1.0) -> bool:
        """Whether what is planted is in the interval, or in one so many times as wide. Without one: no."""
        if self.estimate is None or self.ci_low is None or self.ci_high is None:
            return False
        below, above = self.estimate - self.ci_low, self.ci_high - self.estimate
        return self.estimate - times * below <= self.figure.value <= self.estimate + times * above


def came_out(connection: Any, simulated: Simulated) -> list[CameOut]:
    """Each figure of a community with its row, in their order."""
    return list(_matched(simulated, _rows(connection, simulated)))


class _Row(NamedTuple):
    name: str
    outcome: str
    part: str
    of: str
    estimate: float | None
    ci_low: float | None
    ci_high: float | None


def _rows(connection: Any, simulated: Simulated) -> list[_Row]:
    known = simulated.known
    of = OF.get(known.system, "NULL")
    statement = f"""
        SELECT estimate_name, coalesce(outcome, ''), coalesce(part, ''), coalesce({of}, ''),
               estimate, ci_low, ci_high
        FROM evidence.{known.system}
        WHERE tenant = %s AND study = %s AND source_kind = 'own' {ONLY.get(known.system, "")}
    """  # noqa: S608  # of constants
    with connection.cursor() as cursor:
        cursor.execute(statement, (simulated.tenant, known.study))
        return [_Row(*row) for row in cursor.fetchall()]


def _matched(simulated: Simulated, rows: Sequence[_Row]) -> Iterator[CameOut]:
    for figure in simulated.figures():
        of = _pseudonym(simulated, figure.of)
        found = [
            row
            for row in rows
            if (row.name, row.part) == (figure.name, figure.part)
            and (not figure.outcome or row.outcome == figure.outcome)
            and (not of or row.of == of)
        ]
        # Where there is one kind of group only it is all of them.
        best = [row for row in found if row.of == of] or found
        yield CameOut(figure, *best[0][4:]) if len(best) == 1 else CameOut(figure)


def _pseudonym(simulated: Simulated, of: str) -> str:
    """Communities are told by their pseudonym, all else as it is."""
    if not of or OF.get(simulated.known.system) != "group_id":
        return of
    names = Pseudonymiser.from_file(IngestionSettings.load().pseudonym_key_file)
    ref = "-".join(filter(None, [simulated.label, of]))
    return names.pseudonym(simulated.tenant, KINDS["group_ref"], ref)

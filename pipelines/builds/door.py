"""The door between a candidate and its release: its checks, and whom it goes without.

Quality says what is broken, publication keeps what is published; here the two meet. Of a tenant who is kept
out, the candidate has what readers see of it now.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pipelines.evidence.rows import TABLES
from pipelines.publication.candidate import keep_published, read_candidate, read_published
from pipelines.quality.expectations import RuleResult, check, load, seconds_spent
from pipelines.quality.results import Checked, SuiteRun, crashed, record, told_apart
from pipelines.quality.rules import Suite
from pipelines.quality.suites.evidence import USUAL, against_published
from services.runtime.settings import PostgresSettings

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class Door:
    """The checks of one candidate. They look at what is in PostgreSQL, not at what was to be written."""

    def __init__(
        self, postgres: PostgresSettings, run_id: str, release_id: int, suites: Mapping[str, Suite]
    ) -> None:
        self.kept: set[str] = set()
        self.first: dict[str, list[RuleResult]] = {}
        """Before anybody was kept out for a rule of these suites."""
        self.rows: dict[str, pd.DataFrame] = {}
        """Of the candidate, when it was last looked at."""
        self._last: dict[str, list[RuleResult]] = {}
        self._tenants: set[str] = set()
        self._postgres, self._run_id, self._release_id, self._suites = postgres, run_id, release_id, suites

    def let_in(self, held: Collection[str]) -> None:
        """Lets the candidate in without those who are held, and without those who break a rule here."""
        self.keep_out(held)
        self.look()
        if self.can_do_without_broken():
            self.keep_out(self.broken())
            self.look()

    def keep_out(self, tenants: Collection[str]) -> None:
        keep_published(self._postgres, self._release_id, [*TABLES.values()], tenants)
        self.kept |= set(tenants)

    def look(self) -> None:
        """Checks all tables and records what was found."""
        load()
        self._last, runs = {}, []
        checked: list[Checked] = []
        for name, suite in self._suites.items():
            started, spent = time.monotonic(), seconds_spent()
            key = TABLES[name].key
            self.rows[name] = rows = read_candidate(self._postgres, self._release_id, TABLES[name])
            published = read_published(self._postgres, TABLES[name], [*key, "estimate"])
            usual = _against_published(rows, published, key)
            self._last[name] = [*_checked(rows, suite), *usual]
            self._tenants |= set(rows["tenant"])
            found = Checked("evidence", suite.name, self._last[name], release_id=self._release_id)
            checked += told_apart(found)
            seconds, in_expectations = time.monotonic() - started, seconds_spent() - spent
            runs.append(SuiteRun("evidence", suite.name, 1, len(rows), seconds, in_expectations))
        self.first = self.first or self._last
        record(self._postgres, self._run_id, checked, runs)

    @property
    def is_open(self) -> bool:
        return not any(each.blocks for found in self._last.values() for each in found)

    def broken(self) -> set[str]:
        """Tenants whose rows break a rule that blocks."""
        return {
            tenant
            for found in self._last.values()
            for each in found
            if each.blocks
            for tenant in each.by_tenant
        }

    def can_do_without_broken(self) -> bool:
        """Whether the candidate may go on without those who break a rule. When most do, or when it cannot be
        put down to anybody, our code is wrong, and nothing is released."""
        is_somebodys = all(each.by_tenant for found in self._last.values() for each in found if each.blocks)
        return is_somebodys and 0 < 2 * len(self.broken()) <= len(self._tenants)


def _checked(rows: pd.DataFrame, suite: Suite) -> list[RuleResult]:
    try:
        return check(suite.derive(rows), suite, "tenant")
    except Exception as error:
        # Whatever broke, no rule has been seen to hold.
        log.exception("the check of %s broke", suite.name)
        return [crashed(rule.name, error, len(rows), rule.severity) for rule in suite.rules]


def _against_published(rows: pd.DataFrame, published: pd.DataFrame, key: Sequence[str]) -> list[RuleResult]:
    """What is unusual only warns, also when it cannot be looked at."""
    try:
        frame, count_not_judged = against_published(rows, published, key)
        found = check(frame, USUAL, "tenant")
    except Exception as error:
        log.exception("the look at what is published broke")
        return [crashed(rule.name, error, len(rows), rule.severity) for rule in USUAL.rules]
    problem = f"not judged of {count_not_judged} of {len(frame)} tenants: too little is published"
    return [replace(each, problem=each.problem or (problem if count_not_judged else "")) for each in found]

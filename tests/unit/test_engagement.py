"""Rolling engagement equals its oracle, whatever the order, copies, crashes, and what is taken back."""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.engagement.tables import Tabulator
from services.live.tenants import TenantFigures, tenant_figures
from tests.fakes.engagement_histories import PEOPLE, GroupHistory, histories
from tests.fakes.engagement_memory import Memory, event_of
from tests.fakes.engagement_oracle import ACTIVITIES, WINDOWS_HOURS, Told, figures
from tests.fakes.engagement_vectors import Vector, vectors

LENIENT = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
GROUPS = [f"grp_{letter * 32}" for letter in "ab"]


@pytest.mark.parametrize("vector", [*vectors()], ids=str)
def test_vectors(vector: Vector, tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    memory.withdraw(vector.withdrawn)
    memory.post([event_of(each) for each in vector.told])
    memory.run()
    assert memory.figures() == (vector.as_of, vector.expected)


@pytest.mark.parametrize("kept_from_events", [0, 10**9], ids=["kept tables", "shared tables"])
@LENIENT
@given(histories(with_exceptions=False), st.data())
def test_figures_equal_the_oracle(
    kept_from_events: int, tmp_path: Path, history: GroupHistory, data: st.DataObject
) -> None:
    """One event after the other, with figures in between: the tables of large groups are added to."""
    memory = Memory(tmp_path, tabulator=Tabulator(kept_from_events))
    memory.withdraw(history.withdrawn)
    for told in history.told:
        memory.post([event_of(told)])
        if data.draw(st.integers(0, 2)) == 0:
            memory.run()
    memory.run()
    assert memory.figures() == figures(history.told, history.withdrawn)


class Worker(RuleBasedStateMachine):
    """Two groups, one of which can rest; what is shown after a flush equals the oracle of what was posted.

    Crashes are between any two records of the state; consents change at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.memory = Memory(Path(self._folder.name), max_events=5, tabulator=Tabulator(8))
        self.waiting: list[tuple[int, Told]] = []
        self.posted: list[list[Told]] = [[], []]
        self.withdrawn: frozenset[str] = frozenset()
        self.is_shown = True

    @initialize(
        first=histories(with_exceptions=False), second=histories(max_events=15, with_exceptions=False),
        source=st.randoms(use_true_random=False),
    )  # fmt: skip
    def histories(self, first: GroupHistory, second: GroupHistory, source: object) -> None:
        self.waiting = [*((0, told) for told in first.told), *((1, told) for told in second.told)]
        source.shuffle(self.waiting)  # type: ignore[attr-defined]

    @precondition(lambda self: self.waiting)
    @rule(count=st.integers(1, 6))
    def post(self, count: int) -> None:
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        self.memory.post([event_of(told, GROUPS[group]) for group, told in taken])
        for group, told in taken:
            self.posted[group].append(told)
        self.is_shown = False

    @rule()
    def apply(self) -> None:
        self.memory.apply()

    @rule()
    def flush(self) -> None:
        self.memory.run()
        self.is_shown = True

    @rule(after=st.integers(0, 4))
    def crash(self, after: int) -> None:
        self.memory.apply()
        self.memory.flush(crash_after=after)
        self.is_shown = False

    @rule()
    def restart(self) -> None:
        self.memory.start()
        self.is_shown = False

    @rule()
    def replay(self) -> None:
        """Everything comes once more, to a worker that has its state."""
        self.memory.committed = 0
        self.memory.start()
        self.is_shown = False

    @rule()
    def lose_the_state(self) -> None:
        self.memory.state.clear()
        self.memory.committed = 0
        self.memory.start()
        self.is_shown = False

    @rule(people=st.frozensets(st.sampled_from(PEOPLE), max_size=3))
    def withdraw(self, people: frozenset[str]) -> None:
        self.memory.withdraw(people)
        self.withdrawn = people
        self.is_shown = False

    @invariant()
    def what_is_shown_is_right(self) -> None:
        if self.is_shown:
            for group, told in zip(GROUPS, self.posted, strict=True):
                assert self.memory.figures(group) == figures(told, self.withdrawn)
            shown = {each.window_hours: each for each in tenant_figures([self.memory.contribution])}
            assert shown == tenant_oracle(self.posted, self.withdrawn)

    def teardown(self) -> None:
        self.memory.run()
        self.is_shown = True
        self.what_is_shown_is_right()
        self._folder.cleanup()


HOUR = 3600


def tenant_oracle(groups: list[list[Told]], withdrawn: frozenset[str]) -> dict[int, TenantFigures]:
    """The definition of a tenant's figures, straight from what was told of its groups."""
    counted = [(number, told) for number, group in enumerate(groups) for told in in_log(group, withdrawn)]
    times = [told.occurred_at for group in groups for told in group if told.kind != "event_retracted"]
    if not times:
        return {}
    end = max(times) // HOUR * HOUR + HOUR
    expected = {}
    for window in WINDOWS_HOURS:
        inside = [(group, told) for group, told in counted if told.occurred_at >= end - window * HOUR]
        kinds = Counter(told.kind for _, told in inside)
        active = [(group, told) for group, told in inside if told.kind in ACTIVITIES and told.participant]
        attended = [told for _, told in inside if told.kind == "session_attended"]
        expected[window] = TenantFigures(
            "t", "synthetic", window, datetime.fromtimestamp(end, UTC),
            len(inside), kinds["thread_started"] + kinds["reply_posted"], kinds["reply_posted"],
            kinds["thread_read"], kinds["reaction_given"],
            sum(told.role in ("", "member") for told in attended),
            len({group for group, _ in active}), len({told.participant for _, told in active}), 0.0,
        )  # fmt: skip
    return expected


def in_log(told: list[Told], withdrawn: frozenset[str]) -> list[Told]:
    """Events of one group that count, each once, of its last 28 days."""
    retracted = {each.retracted for each in told if each.kind == "event_retracted"}
    events = {each.event_id: each for each in told if each.kind != "event_retracted"}.values()
    if not events:
        return []
    newest = max(each.occurred_at for each in events)
    begins = newest // 300 * 300 + 300 - 28 * 86_400
    return [
        each
        for each in events
        if each.occurred_at >= begins and each.event_id not in retracted and each.participant not in withdrawn
    ]


TestWorker = Worker.TestCase
TestWorker.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)

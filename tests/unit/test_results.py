"""What is recorded of results that are about rows of several tenants."""

from __future__ import annotations

from pipelines.quality.expectations import RuleResult
from pipelines.quality.results import Checked, told_apart

HOLDS = RuleResult("holds", True, 9)
CRASHED = RuleResult("crashed", False, 9, problem="the check broke: ValueError")
OF_ONE = RuleResult("of_one", False, 9, 2, ("5000",), by_tenant={"t": 2})
OF_TWO = RuleResult("of_two", False, 9, 4, ("1", "2"), by_tenant={"t": 1, "u": 3})


def test_each_tenant_has_its_broken_rules_and_the_others_have_passed() -> None:
    rows = told_apart(Checked("evidence", "s", [HOLDS, CRASHED, OF_ONE, OF_TWO], release_id=3))
    found = {
        (row.tenant_id, each.rule): (each.passed, each.count_unexpected, each.sample)
        for row in rows
        for each in row.results
    }
    assert found == {
        ("t", "of_one"): (False, 2, ("5000",)),
        ("t", "of_two"): (False, 1, ()),
        ("u", "of_two"): (False, 3, ()),
        (None, "holds"): (True, 0, ()),
        (None, "crashed"): (False, 0, ()),
        (None, "of_one"): (True, 0, ()),
        (None, "of_two"): (True, 0, ()),
    }

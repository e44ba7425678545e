"""What makes a verdict, and what an operator may write into the ledger."""

from __future__ import annotations

import pytest

from pipelines.quality.admission import BadNote, Judged, Slice, check_note
from pipelines.quality.expectations import RuleResult
from pipelines.quality.rules import BLOCK, WARN

SLICE = Slice("group_events", "t", 1, 2, 10)


def test_only_a_broken_rule_that_blocks_blocks() -> None:
    broken = {name: RuleResult(f"it_{name}s", False, 10, 3, severity=name) for name in (BLOCK, WARN)}
    holds = RuleResult("it_holds", True, 10)
    warned = Judged(SLICE, (holds, broken[WARN]))
    assert (warned.verdict, warned.reason) == ("passed", None)
    blocked = Judged(SLICE, (holds, broken[WARN], broken[BLOCK]))
    assert (blocked.verdict, blocked.reason) == ("blocked", "it_blocks: 3 of 10 rows")
    assert Judged(SLICE, (), problem="the check broke").verdict is None


@pytest.mark.parametrize("note", ["", "a session that went on for days", "asked the partner on 3 May 2026"])
def test_a_reason_is_taken(note: str) -> None:
    check_note(note)


@pytest.mark.parametrize(
    "note",
    [
        "mary@example.org said so",
        "prt_k3j9x0aa2 was there twice",
        "see 123E4567-e89b-12d3-a456-426614174000",
        "patient 1234567",
        "two\nlines",
        "x" * 201,
    ],
)
def test_what_looks_like_an_identifier_or_is_no_short_line_is_refused(note: str) -> None:
    with pytest.raises(BadNote):
        check_note(note)

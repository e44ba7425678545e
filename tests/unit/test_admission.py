"""What an operator may write into the ledger."""

from __future__ import annotations

import pytest

from pipelines.quality.admission import BadNote, check_note


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

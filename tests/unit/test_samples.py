"""No sample of a broken rule shows what could identify anybody."""

from __future__ import annotations

import uuid
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.quality.expectations import check
from pipelines.quality.rules import Suite, is_between, is_one_of
from pipelines.quality.samples import known_words, shown

PLANTED = [
    "Mary Smith", "mary", "mary@example.org", "prt_k3j9x0aa2", str(uuid.UUID(int=7)), "07700900123",
    "NHS 943 476 5919", "patient-12", "1.5e9",
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [(5000, "5000"), ("7", "7"), (0.25, "0.25"), ("live", "live"), ("thread_started", "thread_started"),
     (None, "nothing"), (float("nan"), "nothing"), (float("inf"), "inf"), (True, "true")],
)  # fmt: skip
def test_numbers_and_words_of_the_contract_are_shown(value: Any, words: str) -> None:
    assert shown(value) == words


@given(st.text())
def test_any_other_text_is_told_by_its_length(text: str) -> None:
    if text in known_words() or (text.isascii() and text.isdigit()):
        return
    assert shown(text) == f"a text of {len(text)} characters"


def test_planted_identifiers_are_in_no_sample() -> None:
    suite = Suite("s", ("role", "minutes"), (is_one_of("role", ["member"]), is_between("minutes", 0, 10)))
    for planted in PLANTED:
        frame = pd.DataFrame({"role": [planted, "member"], "minutes": [7700900123, 1]})
        role, minutes = check(frame, suite, "role")
        assert not role.passed and not minutes.passed
        assert planted not in repr((role.sample, role.problem, minutes.sample, minutes.problem))
        assert minutes.sample == ("a number of 10 digits",)

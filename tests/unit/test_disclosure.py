"""Disclosure control: what is taken out, what stays, and that nothing small can be worked out."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.publication.disclosure import TAKEN_OUT, control, threshold_of


def full_row(**row: Any) -> dict[str, Any]:
    """Unnamed numbers are harmless."""
    full = {
        "data_class": "live",
        "source_kind": "own",
        "estimate_name": "mean",
        "estimate": 1.5,
        "se": 0.1,
        "ci_low": 1.3,
        "ci_high": 1.7,
        "n": 40,
        "denominator": 40,
        "denominator_unit": "people with a score",
        "missing_share": 0.0,
        "n_consented": 40,
        "n_excluded": 0,
        "parts": (40,),
    }
    return full | row


def controlled(**row: Any) -> dict[Any, Any]:
    """One row after disclosure control."""
    found: dict[Any, Any] = control(pd.DataFrame([full_row(**row)], dtype=object)).to_dict("records")[0]
    return found


def test_nine_live_people_are_suppressed_and_the_row_says_so() -> None:
    row = controlled(n=9, parts=(9,))
    assert row["suppressed"] is True
    assert row["suppression_reason"] == "fewer than 10 people"
    assert all(row[name] is None for name in TAKEN_OUT if name in row)
    assert row["estimate_name"] == "mean"


def test_what_is_published_already_is_shown_whatever_its_size() -> None:
    row = controlled(source_kind="literature", n=9, parts=(9,))
    assert (row["suppressed"], row["n"], row["estimate"]) == (False, 9, 1.5)
    assert not controlled(source_kind="literature", n=None, parts=())["suppressed"]
    assert controlled(n=None, parts=())["suppressed"]


def test_a_count_of_registered_studies_tells_of_nobody() -> None:
    counted = {"n": None, "n_consented": None, "n_excluded": None, "parts": ()}
    assert not controlled(denominator_unit="studies", estimate=2.0, **counted)["suppressed"]
    assert controlled(denominator_unit="eligible studies", estimate=2.0, **counted)["suppressed"]


def test_ten_live_people_are_shown() -> None:
    row = controlled(n=10, parts=(10,), n_consented=10)
    assert (row["suppressed"], row["estimate"], row["n"]) == (False, 1.5, 10)


@pytest.mark.parametrize("data_class", ["public", "synthetic"])
def test_single_people_of_other_classes_are_shown(data_class: str) -> None:
    assert controlled(data_class=data_class, n=1, parts=(1,))["suppressed"] is False


def test_an_unknown_class_is_treated_as_live() -> None:
    assert threshold_of("anything") == 10


@pytest.mark.parametrize("parts", [(40, 9), (40, 31, 9), (40, 1)])
def test_a_share_with_a_small_part_is_suppressed(parts: tuple[int, ...]) -> None:
    assert controlled(parts=parts)["suppressed"] is True


def test_an_empty_part_tells_of_nobody() -> None:
    assert controlled(parts=(40, 40, 0))["suppressed"] is False


def test_a_contrast_is_suppressed_with_either_arm() -> None:
    row = controlled(n=49, n_arm=9, n_reference=40, parts=(9, 40))
    assert (row["suppressed"], row["n_arm"], row["n_reference"]) == (True, None, None)


def test_few_missing_people_are_not_told() -> None:
    row = controlled(n=38, n_consented=40, missing_share=0.05)
    assert (row["suppressed"], row["n_consented"], row["missing_share"]) == (False, None, None)


def test_few_who_lack_something_are_not_told_either() -> None:
    row = controlled(n=20, n_consented=40, missing=(3, 20))
    assert (row["suppressed"], row["n_consented"], row["missing_share"]) == (False, None, None)
    assert controlled(n=38, n_consented=40, missing=(0, 20))["n_consented"] == 40


def test_few_excluded_people_are_not_told() -> None:
    assert controlled(n_excluded=3)["n_excluded"] is None
    assert controlled(n_excluded=12)["n_excluded"] == 12


def test_what_was_only_needed_for_control_is_not_published() -> None:
    assert "parts" not in controlled()


@given(
    data_class=st.sampled_from(["live", "public", "synthetic"]),
    n=st.integers(0, 60),
    missing=st.integers(0, 30),
    excluded=st.integers(0, 30),
    inside=st.integers(0, 60),
)
def test_no_shown_number_of_people_is_below_the_threshold(
    data_class: str, n: int, missing: int, excluded: int, inside: int
) -> None:
    inside = min(inside, n)
    row = controlled(
        data_class=data_class,
        n=n,
        parts=(n, inside, n - inside),
        n_consented=n + missing,
        n_excluded=excluded,
    )
    small = range(1, threshold_of(data_class))
    if row["suppressed"]:
        assert row["n"] is None and row["estimate"] is None
        return
    assert n not in small and inside not in small and (n - inside) not in small
    assert row["n_excluded"] not in small
    assert row["n_consented"] is None or row["n_consented"] - row["n"] not in small

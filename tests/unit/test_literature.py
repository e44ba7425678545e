"""Printed figures, against the table that they were first written down in, and as rows of evidence tables."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from pipelines.evidence.literature import (
    FILE,
    SYSTEMS,
    Figure,
    WrongLiterature,
    figures,
    literature_rows,
    literature_studies,
    read_figures,
)
from pipelines.evidence.rows import GROUP_PEER_SUPPORT_META, frame
from pipelines.publication.disclosure import control, threshold_of
from pipelines.quality.expectations import check
from pipelines.quality.suites.evidence import evidence_suite

SOURCE = Path(__file__).parents[1] / "vectors" / "literature" / "published_statistics.csv"

STUDIES = {
    "Hsiung2000_PsychoBabble": "hsiung-2000",
    "Roystonn2020_Singapore": "roystonn-2020",
    "Lyons2021": "lyons-2021",
    "LloydEvans2014_followup": "lloyd-evans-2014",
    "LloydEvans2014_post": "lloyd-evans-2014",
    "Pfeiffer2011": "pfeiffer-2011",
    "Fuhr2014": "fuhr-2014",
    "Pistrang2008": "pistrang-2008",
    "Ali2015": "ali-2015",
    "ShuLung2005": "shu-lung-2005",
    "MensGroups2023": "mens-groups-2023",
    "vanMierlo2014": "van-mierlo-2014",
    "Griffiths2016_BlueBoard": "griffiths-2016",
    "Geramita2018_ISG": "geramita-2018",
    "Dean2016_ISG_vs_writing": "dean-2016",
    "Low2020": "low-2020",
}

NUMBER = re.compile(r"(?<![A-Za-z\d.])-?(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?(?![A-Za-z\d])")


def source() -> list[dict[str, str]]:
    with SOURCE.open() as table:
        return list(csv.DictReader(table))


def printed() -> list[dict[str, str]]:
    """The shipped file as text."""
    with FILE.open() as table:
        return list(csv.DictReader(table))


def numbers(text: str) -> Iterator[float]:
    return (float(each) for each in NUMBER.findall(text))


def all_numbers(row: dict[str, str]) -> set[float]:
    """In any column."""
    return {each for text in row.values() for each in numbers(text)}


def of(study: str) -> list[dict[str, str]]:
    return [row for row in printed() if row["study"] == STUDIES[study]]


def test_every_statistic_is_there_digit_by_digit() -> None:
    assert len(source()) == 66
    for told in source():
        wanted = (told["value"], told["lo"], told["hi"], told["mark"])
        found = [(row["estimate"], row["ci_low"], row["ci_high"], row["mark"]) for row in of(told["study"])]
        assert wanted in found, told


def test_numbers_behind_a_statistic_stand_with_it() -> None:
    """In its own row, or in another about the same part."""
    for told in source():
        rows = of(told["study"])
        parts = {row["part"] for row in rows if row["estimate"] == told["value"]}
        here = set().union(*(all_numbers(row) for row in rows if row["part"] in parts))
        assert {each for each in numbers(told["n_or_k"]) if each not in here} == set(), told


def test_figures_that_were_hidden_in_remarks_are_there() -> None:
    for told in source():
        here = set().union(*(all_numbers(row) for row in of(told["study"])))
        assert {each for each in numbers(told["extra"]) if each not in here} == set(), told


def test_so_many_figures_of_each_system() -> None:
    assert Counter(each.system for each in figures()) == {
        "youth_online_peer_support": 13, "mutual_help": 5, "group_peer_support_meta": 61,
        "carers_controlled": 4, "mens_groups": 1, "osg_prevalence": 15, "professional_moderation": 39,
        "covid_change": 70,
    }  # fmt: skip


def test_no_figure_lacks_a_denominator_and_no_row_is_there_twice() -> None:
    assert all(each.denominator >= 1 and each.denominator_unit for each in figures())
    keys = Counter((each.study, each.outcome, each.estimate_name, each.part) for each in figures())
    assert [key for key, count in keys.items() if count > 1] == []


def test_shares_and_percentages_are_what_their_counts_say() -> None:
    """Where both are printed. The last digit of a printed one is rounded."""
    found = {(each.study, each.estimate_name, each.part): each for each in figures()}
    pairs = [
        ("geramita-2018", "people_percent", "people_in_class"),
        ("geramita-2018", "content_percent", "posts_by_class"),
        ("geramita-2018", "posted_percent", "people_who_posted"),
        ("van-mierlo-2014", "content_percent", "posts_by_class"),
        ("dean-2016", "attrition_percent", "people_lost"),
    ]
    compared = 0
    for (study, name, part), share in found.items():
        for counts in [count for of_study, percent, count in pairs if (of_study, percent) == (study, name)]:
            counted = found[study, counts, part]
            assert counted.denominator == share.denominator
            assert share.estimate == pytest.approx(
                100 * (counted.estimate or 0) / counted.denominator, abs=0.9
            )
            compared += 1
    assert compared == 12


def test_parts_of_low_add_up() -> None:
    rows = [each for each in figures() if each.estimate_name == "user_window_rows"]
    whole, *parts = sorted((each.estimate or 0 for each in rows), reverse=True)
    assert whole == sum(parts)
    for each in figures():
        if each.estimate_name == "significant_share":
            cells = (each.estimate or 0) * each.denominator
            assert cells == pytest.approx(round(cells), abs=1e-9)


def test_rows_break_no_rule_of_an_evidence_table() -> None:
    """After disclosure control, with what a release adds."""
    released = {
        "release_id": 1,
        "lake_snapshot": 1,
        "code_version": "1",
        "computed_at": pd.Timestamp.now("UTC"),
    }
    table = GROUP_PEER_SUPPORT_META
    rows = [row | released for system in SYSTEMS for row in literature_rows(system)]
    shown = control(frame(rows, table, extra=("parts",)))
    studies = [study for system in SYSTEMS for study in literature_studies(system)]
    suite = evidence_suite("any", [*shown.columns], table.key, studies=studies, threshold_of=threshold_of)
    assert [each.rule for each in check(suite.derive(shown), suite, "tenant") if not each.passed] == []
    assert len(shown) == len(figures())
    assert set(shown["source_kind"]) == {"literature"}
    assert not shown["suppressed"].any()


def test_what_could_not_be_read_is_a_row_with_its_reason() -> None:
    (row,) = [each for each in literature_rows("group_peer_support_meta") if each["estimate"] is None]
    assert (row["outcome"], row["k"], row["n"]) == ("depression", 4, 929)
    assert row["not_estimated_reason"] == "value cut off in the stored copy of the table"


def test_only_randomised_studies_speak_of_an_effect() -> None:
    for system in SYSTEMS:
        for row in literature_rows(system):
            if row["contrast"] is not None and row["design"] != "randomised":
                assert "associated with" in row["contrast"]


HEADER = ",".join(Figure.model_fields)
GOOD = "mutual_help,s,,studies,all,1,,,,,,1,studies,descriptive,verified,somebody 2001,"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (GOOD.replace("mutual_help", "mutual"), "system: Input should be 'youth_online_peer_support'"),
        (GOOD.replace(",1,studies", ",,studies"), "denominator: Input should be a valid integer"),
        (GOOD.replace(",1,,,,", ",one,,,,"), "estimate: Input should be a valid number"),
        (GOOD.replace(",1,,,,", ",nan,,,,"), "estimate: Input should be a finite number"),
        (GOOD.replace(",1,,,,", ",1,2,3,0.95,"), "the interval does not hold the estimate"),
        (GOOD.replace(",1,,,,", ",1,0,,0.95,"), "an interval has an estimate, two ends and a level"),
        (GOOD.replace(",1,,,,", ",,,,,"), "a figure without an estimate says why"),
        (GOOD.replace("verified", "remembered"), "mark: Input should be 'verified'"),
        (GOOD.replace("somebody 2001", ""), "citation: Input should be a valid string"),
        (GOOD + ",more", "None: Extra inputs are not permitted"),
        (GOOD.rpartition(",verified")[0], "mark: Input should be"),
    ],
)
def test_a_row_that_is_no_figure_is_named_by_line_and_reason(tmp_path: Path, row: str, words: str) -> None:
    path = tmp_path / "literature.csv"
    path.write_text("\n".join([HEADER, GOOD, row, GOOD]))
    with pytest.raises(WrongLiterature, match=re.escape("literature.csv, line 3: ")) as raised:
        read_figures(path)
    assert words in str(raised.value)


def test_a_good_file_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "literature.csv"
    path.write_text("\n".join([HEADER, GOOD, GOOD]))
    first, second = read_figures(path)
    assert first == second
    assert (first.estimate, first.denominator, first.part, first.note) == (1.0, 1, "all", None)

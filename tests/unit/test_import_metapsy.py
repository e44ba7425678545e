"""Study rows become registrations, summaries of arms and effects; what is wrong is said with its place."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from circles.studies.v1 import study_event_pb2 as studies
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.demo import bcg_trials
from infra.importing.comparison import Options
from infra.importing.metapsy import read
from infra.importing.rows import Row, Unreadable, event_id_of

EXAMPLE = Path(__file__).parents[2] / "docs" / "guides" / "examples" / "metapsy.csv"
NAMES = Options(outcome="depression", design="randomised")
ROW = {
    "study": "Example-Adams, 2015", "condition_arm1": "cbt", "condition_arm2": "wlc",
    "outcome_type": "depression", "instrument": "PHQ-9", "time": "post",
    "mean_arm1": "10.2", "sd_arm1": "5.1", "n_arm1": "42",
    "mean_arm2": "12.9", "sd_arm2": "5.4", "n_arm2": "40", "year": "2015", "design": "randomised",
}  # fmt: skip


def table(folder: Path, *rows: Mapping[str, str], name: str = "rows.csv") -> Path:
    """The rows under all columns of the first."""
    path = folder / name
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def events_of(rows: Iterator[Row]) -> list[Any]:
    """Of rows that are all right."""
    found = list(rows)
    assert [row.wrong for row in found if row.wrong] == []
    return [event for row in found for event in row.events]


def wrong_of(rows: Iterator[Row]) -> list[tuple[str, str, str]]:
    """Place, field and value."""
    return [each[:3] for row in rows for each in row.wrong]


def summaries(events: Sequence[Any]) -> list[Any]:
    return [event.arm_summarised for event in events if event.HasField("arm_summarised")]


def effects(events: Sequence[Any]) -> list[Any]:
    return [event.effect_estimated for event in events if event.HasField("effect_estimated")]


class TestTheExample:
    def test_makes_one_registration_a_study_and_one_summary_an_arm(self) -> None:
        events = events_of(read(EXAMPLE, NAMES))
        registered = [event.study_code for event in events if event.HasField("study_registered")]
        assert registered == ["example-adams-2015", "example-baker-2018", "example-clark-2021"]
        arms = [(each.arm, each.outcome, each.n) for each in summaries(events)]
        assert arms == [
            ("peer-group", "depression", 42), ("wlc", "depression", 40),
            ("peer-group", "remission", 42), ("wlc", "remission", 40),
            ("peer-group-f2f", "depression", 31), ("cau", "depression", 33),
            ("peer-group-online", "depression", 30),
        ]  # fmt: skip

    def test_has_its_numbers(self) -> None:
        events = events_of(read(EXAMPLE, NAMES))
        first, remitted = summaries(events)[0], summaries(events)[2]
        assert (first.mean, first.sd, first.instrument, first.time_point) == (10.2, 5.1, "phq-9", "post")
        assert (remitted.events, remitted.HasField("mean")) == (14, False)
        scales = [
            (each.scale, each.estimate, each.standard_error, each.time_point) for each in effects(events)
        ]
        assert scales == [
            (studies.EFFECT_SCALE_HEDGES_G, -0.509, 0.224, "post"),
            (studies.EFFECT_SCALE_LOG_RISK_RATIO, 0.511, 0.383, "post"),
            (studies.EFFECT_SCALE_HEDGES_G, -0.21, 0.14, "fu-26-weeks"),
        ]

    def test_has_the_same_ids_each_time_and_others_in_another_revision(self) -> None:
        ids = [event.event_id for event in events_of(read(EXAMPLE, NAMES))]
        assert ids == [event.event_id for event in events_of(read(EXAMPLE, NAMES))]
        assert len(set(ids)) == len(ids)
        anew = Options(outcome="depression", design="randomised", revision=2)
        assert not set(ids) & {event.event_id for event in events_of(read(EXAMPLE, anew))}


def test_an_id_never_changes_between_versions_of_ours(tmp_path: Path) -> None:
    """Else the next import of the same file would post everything a second time."""
    first = events_of(read(table(tmp_path, ROW), Options()))[0]
    assert first.event_id == event_id_of(first) == "c308f823-dafa-5ff6-9c94-3787e5309ae8"


def test_a_changed_value_is_another_event(tmp_path: Path) -> None:
    before = events_of(read(table(tmp_path, ROW), Options()))
    after = events_of(read(table(tmp_path, ROW | {"mean_arm1": "10.3"}), Options()))
    assert [one.event_id == other.event_id for one, other in zip(before, after, strict=True)] == [
        True, False, True,
    ]  # fmt: skip


def test_what_a_later_row_knows_is_registered_again(tmp_path: Path) -> None:
    rows = [ROW | {"doi": ""}, ROW | {"doi": "https://doi.org/10.1000/182", "outcome_type": "anxiety"}]
    registered = [
        e.study_registered
        for e in events_of(read(table(tmp_path, *rows), Options()))
        if e.HasField("study_registered")
    ]
    assert [each.doi for each in registered] == ["", "10.1000/182"]
    assert registered[1].design == studies.STUDY_DESIGN_RANDOMISED


def test_covariates_are_the_columns_that_are_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, ROW | {"mean_age": "41.5", "sessions": "NA"})
    options = Options(covariates=("mean_age", "sessions"))
    covariates = events_of(read(path, options))[0].study_registered.covariates
    assert [(each.code, each.value) for each in covariates] == [("mean_age", 41.5)]


def test_attributes_are_words_of_which_a_study_may_have_several(tmp_path: Path) -> None:
    rows = [
        ROW | {"Target group": "Older adults"},
        ROW | {"Target group": "carers", "outcome_type": "anxiety"},
    ]
    options = Options(attributes=("Target group",))
    events = events_of(read(table(tmp_path, *rows), options))
    told = [
        [(each.code, each.value) for each in event.study_registered.attributes]
        for event in events
        if event.HasField("study_registered")
    ]
    first = ("target-group", "older-adults")
    assert told == [[first], [first, ("target-group", "carers")]]


def test_a_date_of_reporting_takes_the_place_of_the_year(tmp_path: Path) -> None:
    path = table(tmp_path, ROW | {"year": "", "study": "Adams"})
    assert wrong_of(read(path, Options())) == [("line 2", "year", "")]
    events = events_of(read(path, Options(reported_on=date(2024, 5, 1))))
    assert {event.occurred_at.ToJsonString() for event in events} == {"2024-05-01T00:00:00Z"}


def test_a_count_of_criteria_is_no_risk_of_bias(tmp_path: Path) -> None:
    (row,) = [row for row in read(table(tmp_path, ROW | {"rob": "4"}), Options()) if row.events]
    assert row.events[0].study_registered.risk_of_bias == studies.RISK_OF_BIAS_UNSPECIFIED  # type: ignore[union-attr]
    assert "not a judgement" in row.notes[0]


def test_an_effect_of_the_other_sign_than_its_means_is_left_out_with_a_word(tmp_path: Path) -> None:
    """Else one study would count for the other side where its means are not known."""
    path = table(tmp_path, ROW | {".g": "0.51", ".g_se": "0.22"})
    (row,) = [row for row in read(path, Options()) if row.events]
    assert effects(row.events) == [] and "--flip-g" in row.notes[0]
    (effect,) = effects(events_of(read(path, Options(flip_g=True))))
    assert effect.estimate == -0.51


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mean_arm1": "NaN"}, "mean_arm1"),
        ({"mean_arm1": "1e999"}, "mean_arm1"),
        ({"mean_arm1": "10,2"}, "mean_arm1"),
        ({"mean_arm1": "=1+1"}, "mean_arm1"),
        ({"sd_arm1": ""}, "mean_arm1, sd_arm1"),
        ({"sd_arm1": "-1"}, "sd_arm1"),
        ({"n_arm2": ""}, "n_arm2"),
        ({"n_arm2": "0"}, "n_arm2"),
        ({"n_arm2": "40.5"}, "n_arm2"),
        ({"n_arm2": "99999999999"}, "n_arm2"),
        ({"study": ""}, "study"),
        ({"study": "x" * 60}, "study"),
        ({"study": "名前, 2015"}, None),
        ({"study": "名前"}, "study"),
        ({"condition_arm2": "CBT"}, "condition_arm2"),
        ({"outcome_type": "msd"}, "outcome_type"),
        ({"design": "double blind"}, "design"),
        ({"year": "1850"}, "year"),
        ({"year": "20155"}, "year"),
        ({"rob": "so-so"}, "rob"),
        ({"doi": "see our page"}, "doi"),
        ({".g": "-0.3"}, ".g_se"),
        ({".g": "-0.3", ".g_se": "0"}, ".g_se"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_column(
    tmp_path: Path, change: dict[str, str], field: str | None
) -> None:
    fields = [place[1] for place in wrong_of(read(table(tmp_path, ROW | change), Options()))]
    assert fields == ([] if field is None else [field])


def test_a_row_of_change_scores_alone_says_that_nothing_can_be_posted(tmp_path: Path) -> None:
    numbers = dict.fromkeys([name for name in ROW if name[-5:-1] == "_arm" and name[0] != "c"], "NA")
    (wrong,) = [each for row in read(table(tmp_path, ROW | numbers), Options()) for each in row.wrong]
    assert "mean, sd and n" in wrong.rule


def test_rows_that_contradict_one_another_are_told_with_both_lines(tmp_path: Path) -> None:
    path = table(
        tmp_path, ROW, ROW, ROW | {"n_arm2": "41"}, ROW | {"year": "2016", "outcome_type": "anxiety"}
    )
    found = [each for row in read(path, Options()) for each in row.wrong]
    assert [(each.place, each.field) for each in found] == [("line 4", "n_arm2"), ("line 5", "year")]
    assert all("line 2" in each.rule for each in found)


def test_what_a_wrong_row_said_does_not_count(tmp_path: Path) -> None:
    path = table(tmp_path, ROW | {"n_arm1": "0", "year": "2014"}, ROW)
    first, second = read(path, Options())
    assert first.wrong and not second.wrong
    assert len(second.events) == 3


def test_a_covariate_that_makes_no_code_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="--covariate, --attribute: should be a name that makes a code"):
        list(read(table(tmp_path, ROW | {"名前": "1"}), Options(covariates=("名前",))))


class TestNames:
    def test_two_of_one_code_are_an_error_that_names_both(self, tmp_path: Path) -> None:
        path = table(tmp_path, ROW, ROW | {"condition_arm1": "CBT+", "outcome_type": "anxiety"})
        (wrong,) = [each for row in read(path, Options()) for each in row.wrong]
        assert (wrong.field, wrong.value) == ("condition_arm1", "CBT+")
        assert "'cbt'" in wrong.rule

    def test_get_the_code_that_is_given(self, tmp_path: Path) -> None:
        path = table(tmp_path, ROW, ROW | {"condition_arm1": "CBT+", "outcome_type": "anxiety"})
        events = events_of(read(path, Options(codes={"cbt+": "cbt-plus"})))
        assert {each.arm for each in summaries(events)} == {"cbt", "cbt-plus", "wlc"}

    def test_may_differ_in_case_and_blanks(self, tmp_path: Path) -> None:
        path = table(tmp_path, ROW, ROW | {"condition_arm1": " CBT ", "outcome_type": "anxiety"})
        assert {each.arm for each in summaries(events_of(read(path, Options())))} == {"cbt", "wlc"}


class TestTables:
    def lines(self, folder: Path, text: bytes) -> Path:
        path = folder / "rows.csv"
        path.write_bytes(text)
        return path

    def as_bytes(self, folder: Path) -> bytes:
        return table(folder, ROW).read_bytes()

    @pytest.mark.parametrize("separator", [b";", b"\t", b"|"])
    def test_may_have_another_separator_a_byte_order_mark_and_other_ends_of_lines(
        self, tmp_path: Path, separator: bytes
    ) -> None:
        text = self.as_bytes(tmp_path).replace(b'"Example-Adams, 2015"', b"Example-Adams 2015")
        text = b"\xef\xbb\xbf" + text.replace(b",", separator).replace(b"\r\n", b"\n")
        assert len(events_of(read(self.lines(tmp_path, text), Options()))) == 3

    def test_of_metapsy_have_semicolons_and_decimal_commas(self, tmp_path: Path) -> None:
        text = self.as_bytes(tmp_path).replace(b'"Example-Adams, 2015"', b"Example-Adams 2015")
        text = text.replace(b",", b";").replace(b".", b",")
        path = self.lines(tmp_path, text)
        assert [each[1] for each in wrong_of(read(path, Options()))] == [
            "mean_arm1", "sd_arm1", "mean_arm2", "sd_arm2",
        ]  # fmt: skip
        assert summaries(events_of(read(path, Options(decimal_comma=True))))[0].mean == 10.2

    def test_may_be_parquet(self, tmp_path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        numbers = {name: float(ROW[name]) for name in ("mean_arm1", "sd_arm1", "n_arm1", "year")}
        rows = [ROW | numbers, ROW | dict.fromkeys(numbers) | {"outcome_type": "anxiety", "year": 2015.0}]
        parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "rows.parquet")
        events = events_of(read(tmp_path / "rows.parquet", Options()))
        assert [(each.arm, each.n) for each in summaries(events)] == [("cbt", 42), ("wlc", 40), ("wlc", 40)]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (b"", "no header"),
            (b"\n\n", "no header"),
            (b"study,study\nx,y\n", "two columns named 'study'"),
            (b"name,year\nx,2015\n", "has no column study"),
            (b"study,condition_arm1,condition_arm2\n\xff\xfe,b,c\n", "not UTF-8"),
            (b'study,condition_arm1,condition_arm2\n"never closed,b,c\nd,e,f\n', "line 2: not CSV"),
            (b"PAR1 and no more", "not a Parquet file"),
        ],
    )
    def test_that_cannot_be_read_say_why(self, tmp_path: Path, text: bytes, words: str) -> None:
        with pytest.raises(Unreadable, match=words):
            list(read(self.lines(tmp_path, text), Options()))

    def test_a_short_row_is_wrong_and_the_next_is_read(self, tmp_path: Path) -> None:
        text = self.as_bytes(tmp_path)
        header, row = text.splitlines(keepends=True)
        rows = list(read(self.lines(tmp_path, header + b"a,b\r\n" + row), Options()))
        assert [(row.place, bool(row.wrong), len(row.events)) for row in rows] == [
            ("line 2", True, 0),
            ("line 3", False, 3),
        ]


cells = st.text(st.characters(codec="utf-8"))


def test_trials_that_the_demo_has_are_the_same_in_these_columns(tmp_path: Path) -> None:
    """Thirteen published trials, read here and by the demo's own reader of another table."""
    with bcg_trials.DATA.open() as file:
        trials = list(csv.DictReader(file))
    rows = [
        {
            "study": f"BCG trial {int(trial['trial']):02}", "year": trial["year"], "doi": bcg_trials.DOI,
            "condition_arm1": "vaccinated", "condition_arm2": "Not vaccinated",
            "outcome_type": "Tuberculosis",
            "event_arm1": trial["tpos"], "totaln_arm1": str(int(trial["tpos"]) + int(trial["tneg"])),
            "event_arm2": trial["cpos"], "totaln_arm2": str(int(trial["cpos"]) + int(trial["cneg"])),
            "design": "RCT" if trial["alloc"] == "random" else "controlled", "latitude": trial["ablat"],
        }
        for trial in trials
    ]  # fmt: skip
    theirs = list(bcg_trials.events())
    ours = events_of(read(table(tmp_path, *rows), Options(covariates=("latitude",))))
    for event in (*ours, *theirs):
        event.event_id = ""
    assert len(ours) == 39 and ours == theirs


numbers = st.floats(-1e9, 1e9, allow_nan=False)
sizes = st.integers(1, 1_000_000)


@st.composite
def comparisons(draw: st.DrawFn) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for arm in (1, 2):
        row |= {
            f"mean_arm{arm}": draw(numbers),
            f"sd_arm{arm}": abs(draw(numbers)),
            f"n_arm{arm}": draw(sizes),
        }
    return row


@settings(max_examples=50)
@given(st.lists(comparisons(), min_size=1, max_size=5))
def test_every_number_that_is_written_comes_back(rows: list[dict[str, Any]]) -> None:
    """To the last digit: as many summaries as arms, each with its own n, mean and sd."""
    written = [
        ROW | {"study": f"Study {i}, 2015"} | {name: repr(value) for name, value in row.items()}
        for i, row in enumerate(rows)
    ]
    with TemporaryDirectory() as folder:
        found = summaries(events_of(read(table(Path(folder), *written), Options())))
    assert [(each.n, each.mean, each.sd) for each in found] == [
        (row[f"n_arm{arm}"], row[f"mean_arm{arm}"], row[f"sd_arm{arm}"]) for row in rows for arm in (1, 2)
    ]


@settings(max_examples=50)
@given(cells, cells)
def test_any_text_makes_an_event_or_a_line_of_what_is_wrong(name: str, value: str) -> None:
    """Nothing that can stand in a cell ends the import."""
    with TemporaryDirectory() as folder:
        path = table(
            Path(folder),
            ROW
            | {
                "condition_arm1": name,
                "mean_arm1": value,
            },
        )
        (row,) = read(path, Options())
    assert bool(row.wrong) or len(row.events) == 3
    assert all(each.value.isascii() for each in row.wrong)


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_whatever_a_file_has_it_is_read_or_said_to_be_unreadable(content: bytes) -> None:
    header = ",".join(ROW).encode() + b"\n"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        for text in (content, header + content, b"PAR1" + content):
            path.write_bytes(text)
            with suppress(Unreadable):
                list(read(path, Options()))

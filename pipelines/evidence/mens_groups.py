"""The table `mens_groups`: what members of groups tell in interviews, how they help each other, how lonely
they are and how often they come; by gender, and of groups for men.

After the study of men's groups in South Wales (2023), which prints no statistics. Interviews stay with the
researcher: here are codes. Everything is a description of those who are in groups; nothing is an effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipelines.evidence.agreement import Agreement, cohens_kappa, krippendorffs_alpha
from pipelines.evidence.arms import place_of
from pipelines.evidence.estimates import Estimate, not_estimated, plain
from pipelines.evidence.inputs import Inputs
from pipelines.evidence.linear import Floats
from pipelines.evidence.people import People
from pipelines.evidence.protocols import MensGroups, Outcome, protocols
from pipelines.evidence.regression import clustered_mean, clustered_share
from pipelines.evidence.rows import MENS_GROUPS, estimate_columns, frame, protocol_columns
from pipelines.evidence.samples import CASE, Cell, Cells
from pipelines.evidence.survey import Booleans, design_of, prevalence

if TYPE_CHECKING:
    import pandas as pd

GENDERS = ("man", "woman")
"""Those that always have rows; others where somebody has stated them."""
NOT_STATED, BETWEEN = "not stated", "between genders"

_CHANGE = "mean of the later score minus the baseline's"

Row = dict[str, Any]
Words = npt.NDArray[np.object_]
"""Names (n,), None where there is none."""


def mens_groups(inputs: Inputs) -> pd.DataFrame:
    """One row per protocol, tenant, estimate and stratum. A tenant has interviews or scores in the study."""
    rows = [row for protocol in protocols(MensGroups) for row in study_rows(inputs, protocol)]
    return frame(rows, MENS_GROUPS, extra=("parts", "cells", "cube", "missing", "groups"))


def study_rows(inputs: Inputs, protocol: MensGroups) -> Iterator[Row]:
    """Rows of one protocol, of each tenant who takes part."""
    of_study = inputs.coded_studies[inputs.coded_studies["study_code"] == protocol.study]
    for tenant in dict.fromkeys(of_study["tenant_id"]):
        study = _study(inputs, protocol, str(tenant))
        yield from _theme_rows(study)
        yield from _agreement_rows(study)
        yield from _reciprocity_rows(study)
        yield from _help_rows(study)
        yield from _attendance_rows(study)
        for outcome in protocol.outcomes:
            for time_point in outcome.time_points[1:]:
                yield from _change_rows(study, outcome, time_point)


@dataclass(frozen=True, eq=False)
class Study:
    """A study of one tenant. `sizes`: people, and those who consent, by source; frames are of this tenant."""

    protocol: MensGroups
    common: Row
    sizes: Mapping[str, tuple[int, int]]
    themes: pd.DataFrame
    members: pd.DataFrame
    dyads: pd.DataFrame
    people: People

    @cached_property
    def populations(self) -> dict[str, str | None]:
        """Whom a group is for."""
        return dict(zip(self.members["group_id"], map(_word, self.members["population"]), strict=True))

    def consents(self, source: str) -> Row:
        people, consented = self.sizes.get(source, (0, 0))
        return {"n_consented": consented, "n_excluded": people - consented}


def _study(inputs: Inputs, protocol: MensGroups, tenant: str) -> Study:
    coded, themes, scores, attributes, members, dyads = (
        each[each["tenant_id"] == tenant]
        for each in (
            inputs.coded_studies, inputs.themes, inputs.scores, inputs.person_attributes, inputs.group_people,
            inputs.dyads,
        )
    )  # fmt: skip
    coded, themes, scores = (each[each["study_code"] == protocol.study] for each in (coded, themes, scores))
    told = coded.dropna(subset="first_told_at")
    first, last = (
        (min(told["first_told_at"]).date(), max(told["last_told_at"]).date()) if len(told) else (None, None)
    )
    common = protocol_columns(protocol, tenant, min(coded["data_class"]), first) | {
        "source_kind": "own",
        "design": protocol.design,
        "period": f"{first}/{last}" if first else None,
    }
    sizes = {
        each["source"]: (int(each["count_people"]), int(each["count_consented"]))
        for each in coded.to_dict("records")
    }
    people = People(scores, themes.head(0), attributes, members)
    return Study(protocol, common, sizes, themes, members, dyads, people)


# --- Strata -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Units:
    """What a figure is about, in rows (n,): of whom, of which gender and group, and for whom the group is.

    `values`: the figure's; `is_share`: whether they are 1 and 0, so that a share tells who has it.
    """

    people: Words
    genders: Words
    groups: Words
    populations: Words
    values: Floats
    is_share: bool = True

    def strata(self, study: Study) -> Iterator[tuple[str | None, Booleans, Cell]]:
        """Everybody, each gender, and groups for each population that the protocol names."""
        yield None, np.ones(len(self.people), bool), frozenset()
        for gender in (*self._levels, *([None] if _is(None, self.genders).any() else [])):
            place: Cell = frozenset({("gender", gender)})
            yield f"gender: {gender or NOT_STATED}", _is(gender, self.genders), place
        for each in study.protocol.populations:
            name, place = f"groups for {each.replace('_', '-')}", frozenset({("population", each)})
            yield name, _is(each, self.populations), place

    def cube(self, study: Study) -> dict[Cell, int]:
        """Rows by what they are told apart by."""
        cells = Cells(self.values if self.is_share else np.zeros(len(self.values)))
        cells.add("gender", self.genders, self._levels)
        cells.add("population", self.populations, study.protocol.populations)
        return cells.cube([])

    def totals(self, study: Study) -> tuple[tuple[int, ...], ...]:
        """People of each group, of all groups and of those for each population: figures of single groups are
        in other tables."""
        of_groups = [_is(each, self.populations) for each in study.protocol.populations]
        return tuple(self._sizes(each) for each in (np.ones(len(self.groups), bool), *of_groups))

    def _sizes(self, is_in: Booleans) -> tuple[int, ...]:
        pairs = {*zip(self.groups[is_in], self.people[is_in], strict=True)}
        return tuple(sorted(Counter(group for group, _ in pairs).values()))

    @property
    def _levels(self) -> tuple[str, ...]:
        return (*GENDERS, *sorted({each for each in self.genders if each is not None} - {*GENDERS}))


@dataclass(frozen=True, eq=False)
class Figure:
    """One estimate for each stratum of its units. `estimate`, `denominator`: of those units that are in (n,);
    `source`: of whose consents; `told`: what all of its rows say."""

    name: str
    units: Units
    estimate: Callable[[Booleans], Estimate]
    source: str
    told: Row
    denominator: Callable[[Booleans], int] = np.count_nonzero


def _stratum_rows(study: Study, figure: Figure) -> Iterator[Row]:
    units, consents = figure.units, study.consents(figure.source)
    cube, missing = units.cube(study), consents["n_consented"] - len({*units.people})
    for part, is_in, place in units.strata(study):
        n = len({*units.people[is_in]})
        cases = [place | {(CASE, True)}, place | {(CASE, False)}] if units.is_share else []
        yield (
            study.common
            | consents
            | estimate_columns(figure.estimate(is_in))
            | {
                "estimate_name": figure.name,
                "part": part,
                "n": n,
                "denominator": int(figure.denominator(is_in)),
                "missing_share": missing / consents["n_consented"] if consents["n_consented"] else None,
                "parts": (n,),
                "cells": (place, *cases),
                "cube": cube,
                "missing": (missing,),
                "groups": units.totals(study) if figure.source == "members" else (),
            }
            | figure.told
        )


# --- Themes -----------------------------------------------------------------------------------------------


def _theme_rows(study: Study) -> Iterator[Row]:
    """Share of interviews in which a theme was found, of those in which somebody looked for it."""
    rule = {"majority": "more than half of", "any": "any of"}[study.protocol.coding.found_by]
    for theme in _themes(study):
        codings = study.themes[study.themes["theme"] == theme]
        units = _interviews(study, codings)
        told = {
            "outcome": theme,
            "coders": int(codings["coder_id"].nunique()) or None,
            "denominator_unit": "people in whose interview it was looked for",
        }
        share = _share_of(units, "share of interviews", "nobody has looked for the theme")
        for row in _stratum_rows(study, Figure("theme_share", units, share, "interviews", told)):
            yield row | {"method": f"found by {rule} the coders of an interview; {row['method']}"}


def _share_of(units: Units, method: str, empty: str) -> Callable[[Booleans], Estimate]:
    def share(is_in: Booleans) -> Estimate:
        if not is_in.any():
            return not_estimated(method, empty)
        return clustered_share(units.values[is_in], [*units.groups[is_in]])

    return share


def _themes(study: Study) -> tuple[str, ...]:
    """Those of the protocol, and others that were coded."""
    listed = study.protocol.coding.themes
    return (*listed, *sorted({*study.themes["theme"]} - {*listed}))


def _interviews(study: Study, codings: pd.DataFrame) -> Units:
    """A row each person; the group that coders name, else the only one that the person is a member of."""
    by_person = codings.groupby("participant_id", sort=True)
    people = [str(each) for each in by_person.groups]
    found, coded = by_person["is_present"].sum(), by_person["is_present"].count()
    is_found = (found > 0) if study.protocol.coding.found_by == "any" else (2 * found > coded)
    named = by_person["group_id"].first().to_dict()
    genders = by_person["gender"].first().to_dict()
    groups = [_word(named[each]) or study.people.groups.get(each) for each in people]
    return Units(
        _array(people),
        _array([_gender(genders[each]) for each in people]),
        _array(groups),
        _array([study.populations.get(each or "") for each in groups]),
        np.asarray(is_found, float),
    )


def _agreement_rows(study: Study) -> Iterator[Row]:
    """Whether coders who read the same interview say the same: theme by theme, and over all of them."""
    for theme in _themes(study):
        yield from _agreement(study, study.themes[study.themes["theme"] == theme], theme)
    yield from _agreement(study, study.themes, None)


def _agreement(study: Study, codings: pd.DataFrame, theme: str | None) -> Iterator[Row]:
    table = codings.pivot(index=["participant_id", "theme"], columns="coder_id", values="is_present")
    codes = table.astype(object).where(table.notna(), None).to_numpy(object)
    coders = codes.shape[1]
    is_coded = np.array([[each is not None for each in row] for row in codes], bool).reshape(codes.shape)
    people = np.array([person for person, _ in table.index], object)
    n, asked = len({*people[is_coded.sum(axis=1) > 1]}), len({*people})
    for name, found in {
        "cohens_kappa": _kappa(codes),
        "krippendorffs_alpha": krippendorffs_alpha(codes),
    }.items():
        yield (
            study.common
            | study.consents("interviews")
            | estimate_columns(found.estimate if theme else _of_all_themes(found.estimate))
            | {
                "outcome": theme,
                "estimate_name": name,
                "coders": coders or None,
                "n": n,
                "denominator": found.units,
                "denominator_unit": "interviews that two or more coded" if theme else "themes of interviews",
                "missing_share": (asked - n) / asked if asked else None,
                "parts": (n, asked - n),
            }
        )


def _kappa(codes: Any) -> Agreement:
    if codes.shape[1] == 2:
        return cohens_kappa([*codes[:, 0]], [*codes[:, 1]])
    nobody = cohens_kappa([], []).estimate.method
    reason = "κ is of two coders: there are " + (str(codes.shape[1]) if codes.shape[1] else "none")
    return Agreement(not_estimated(nobody, reason), 0, len(codes), 0)


def _of_all_themes(found: Estimate) -> Estimate:
    """Themes of one interview hang together: as units they would give too short an interval."""
    if found.estimate is None:
        return found
    reason = "no interval: themes of one interview are not independent"
    return Estimate(found.estimate, None, None, None, f"{found.method.partition(';')[0]}; all themes", reason)


# --- Mutual help ------------------------------------------------------------------------------------------


def _reciprocity_rows(study: Study) -> Iterator[Row]:
    """Dyads of a group with replies in both directions, of those with any; within a gender and between."""
    dyads = study.dyads
    is_mutual, groups = dyads["is_mutual"].to_numpy(float), _words(dyads["group_id"])
    pairs = zip(*map(_genders, _both(dyads, "gender")), strict=True)
    kinds = _array([_kind(*each) for each in pairs])
    units = Units(groups, kinds, groups, _words(dyads["population"]), is_mutual)
    totals = _of_both(units, dyads).totals(study)
    people = np.unique(np.concatenate([*map(_words, _both(dyads, "id"))]).astype(str), return_inverse=True)[1]
    people = people.reshape(2, -1)

    def count(is_in: Booleans) -> int:
        return len(np.unique(people[:, is_in]))

    def directions(is_in: Booleans) -> tuple[int, ...]:
        """People of mutual dyads, and of others."""
        return count(is_in & (is_mutual == 1)), count(is_in & (is_mutual == 0))

    # Dyads of one gender are those of all without the others': they stand or fall together.
    strata = [*units.strata(study)]
    of_genders = [each for part, is_in, _ in strata if part and ":" in part for each in directions(is_in)]
    for part, is_in, _ in strata:
        n, own = count(is_in), (count(~is_in), *directions(is_in))
        yield (
            study.common
            | study.consents("members")
            | estimate_columns(_reciprocity(is_mutual[is_in], [*groups[is_in]]))
            | {
                "estimate_name": "reciprocity_share",
                "part": part,
                "n": n,
                "denominator": int(is_in.sum()),
                "denominator_unit": "dyads with a reply",
                "missing_share": 0.0,
                "parts": (n, *own, *(of_genders if part and ":" in part else ())),
                "groups": totals,
            }
        )


def _of_both(units: Units, dyads: pd.DataFrame) -> Units:
    """A row for each of the two."""
    one, other = map(_words, _both(dyads, "id"))
    genders, groups, populations = (
        np.concatenate([each, each]) for each in (units.genders, units.groups, units.populations)
    )
    values = np.concatenate([units.values, units.values])
    return Units(np.concatenate([one, other]), genders, groups, populations, values)


def _both(dyads: pd.DataFrame, column: str) -> tuple[pd.Series[Any], pd.Series[Any]]:
    return dyads[f"one_{column}"], dyads[f"other_{column}"]


def _reciprocity(is_mutual: Floats, groups: Sequence[str | None]) -> Estimate:
    method = "mutual dyads over dyads"
    if not len(is_mutual):
        return not_estimated(method, "nobody replied to another")
    if len({*groups}) == 1:
        return plain(float(is_mutual.mean()), f"{method}; one group, which is described", None)
    return clustered_share(is_mutual, groups)


def _kind(one: str | None, other: str | None) -> str | None:
    if one is None or other is None:
        return None
    return one if one == other else BETWEEN


def _help_rows(study: Study) -> Iterator[Row]:
    """Members who replied to another, of those who wrote anything, in each of their groups."""
    wrote = study.members[study.members["count_posts"] > 0]
    units = _members(wrote, wrote["has_replied"].to_numpy(float))
    share = _share_of(units, "share of members", "nobody wrote")
    told = {"denominator_unit": "members of a group who wrote"}
    yield from _stratum_rows(study, Figure("help_giver_share", units, share, "members", told))


def _attendance_rows(study: Study) -> Iterator[Row]:
    """Sessions attended, of those that were open to members."""
    invited = study.members[study.members["count_sessions_open"] > 0]
    places = invited["count_sessions_open"].to_numpy(float)
    rates = invited["count_sessions_attended"].to_numpy(float) / places
    units = _members(invited, rates, is_share=False)

    def rate(is_in: Booleans) -> Estimate:
        method = "sessions attended over sessions open; groups are PSUs, members weigh as many sessions"
        if not is_in.any():
            return not_estimated(method, "no session was open to anybody")
        design = design_of(places[is_in], psus=[*units.groups[is_in]])
        found = prevalence(rates[is_in], design).share
        return replace(found, method=f"{method}; {found.method}")

    def count(is_in: Booleans) -> int:
        return int(places[is_in].sum())

    told = {"denominator_unit": "sessions open to people"}
    yield from _stratum_rows(study, Figure("attendance_rate", units, rate, "members", told, count))


def _members(members: pd.DataFrame, values: Floats, is_share: bool = True) -> Units:
    return Units(
        _words(members["participant_id"]),
        _genders(members["gender"]),
        _words(members["group_id"]),
        _words(members["population"]),
        values,
        is_share,
    )


# --- Change -----------------------------------------------------------------------------------------------


def _change_rows(study: Study, outcome: Outcome, time_point: str) -> Iterator[Row]:
    """Mean change of those with both scores."""
    first, later = (study.people.at(outcome, each) for each in (outcome.time_points[0], time_point))
    people = sorted({*first} & {*later})
    genders = dict(
        zip(study.people.attributes["participant_id"], study.people.attributes["gender"], strict=True)
    )
    groups = study.people.of_group(people)
    units = Units(
        _array(people),
        _array([_gender(genders.get(each)) for each in people]),
        _array(groups),
        _array([study.populations.get(each or "") for each in groups]),
        np.array([later[each] - first[each] for each in people], float),
        is_share=False,
    )

    def change(is_in: Booleans) -> Estimate:
        return clustered_mean(units.values[is_in], [*units.groups[is_in]], _CHANGE)

    told = place_of(outcome, time_point)
    told["denominator_unit"] = "people with a score at baseline and later"
    yield from _stratum_rows(study, Figure("mean_change", units, change, "answers", told))


# --- Small parts ------------------------------------------------------------------------------------------


def _is(value: str | None, values: Words) -> Booleans:
    is_it: Booleans = (values == np.array(value, object)).astype(bool)
    return is_it


def _word(value: Any) -> str | None:
    """None for what frames have for a missing text."""
    return value if isinstance(value, str) and value else None


def _gender(value: Any) -> str | None:
    """Who has said that it is not stated has stated none."""
    word = _word(value)
    return None if word in (None, "not_stated") else str(word).replace("_", "-")


def _array(values: Sequence[str | None]) -> Words:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def _words(column: pd.Series[Any]) -> Words:
    """A column (n,), None where it is missing."""
    return np.asarray(column.astype(object).where(column.notna(), None), object)


def _genders(column: pd.Series[Any]) -> Words:
    known = {each: _gender(each) for each in column.unique()}
    return np.array([known[each] for each in column], object)

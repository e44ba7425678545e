"""The communities that `circles simulate` knows by name: whose tenant they are, what may be chosen, and
what is true.

What happens in each is its own module's; posting is the command's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from services.client import Event
from services.simulator import features, mens_groups, moderation, published, singapore, studies, survey
from services.simulator.community import PLANTED_EFFECT, Community
from services.simulator.naming import FIRST_SEED, label_of, named
from services.simulator.telling import Figure

DEFINITION, RECOVERY = "definition test", "recovery"


@dataclass(frozen=True)
class Known:
    """`size`: how many people by default, None where it is as published. `defaults`: of the parameters.

    `size_is`: what a size counts.
    """

    name: str
    title: str
    system: str
    study: str
    tenant: str
    proof: str
    size: int | None
    defaults: Any
    events: Callable[[int, int, Any], Iterable[Event]]
    figures: Callable[[int, Any], Sequence[Figure]]
    size_is: str = "people"

    @property
    def parameters(self) -> Mapping[str, Any]:
        return {} if self.defaults is None else asdict(self.defaults)

    def with_parameters(self, pairs: Mapping[str, str]) -> Any:
        """The parameters with these instead. Raises ValueError for what there is not, or cannot be."""
        kinds = {} if self.defaults is None else {each.name: each.type for each in fields(self.defaults)}
        chosen: dict[str, Any] = {}
        for name, text in pairs.items():
            if name not in kinds:
                there = ", ".join(kinds) or "none: its figures are as published"
                raise ValueError(f"{self.name} has no parameter {name!r}; it has {there}")
            chosen[name] = text if kinds[name] == "str" else _number(name, text)
        return replace(self.defaults, **chosen) if chosen else self.defaults

    def simulated(self, seed: int = FIRST_SEED, size: int | None = None, parameters: Any = None) -> Simulated:
        """Raises ValueError for a size of a community that has its published one."""
        if size is not None and self.size is None:
            raise ValueError(f"{self.name} has the size that was published")
        return Simulated(self, seed, size or self.size or 0, parameters or self.defaults)


@dataclass(frozen=True)
class Simulated:
    """A community of a seed. Another seed, size or parameter is another community."""

    known: Known
    seed: int
    size: int
    parameters: Any

    @property
    def label(self) -> str:
        """Empty for the one that the demo shows."""
        label = label_of(self.seed, self.parameters, self.known.defaults)
        if self.size != (self.known.size or 0):
            label = "-".join(filter(None, [label, f"n{self.size}"]))
        return label

    @property
    def tenant(self) -> str:
        """Of its own, since communities in one tenant are counted together."""
        return "-".join(filter(None, [self.known.tenant, self.label]))

    def events(self) -> Iterator[Event]:
        """In the order of time, as far as a partner would tell them so: the same bytes at every call."""
        return named(self.known.events(self.seed, self.size, self.parameters), self.label)

    def figures(self) -> Sequence[Figure]:
        return self.known.figures(self.size, self.parameters)

    def truth(self) -> dict[str, Any]:
        """What was chosen and what is true, for a file."""
        return {
            "community": self.known.name,
            "system": self.known.system,
            "study": self.known.study,
            "data_class": "synthetic",
            "proof": self.known.proof,
            "seed": self.seed,
            self.known.size_is: self.size or None,
            "parameters": {} if self.parameters is None else asdict(self.parameters),
            "figures": [each._asdict() for each in self.figures()],
        }


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} is a number, not {text!r}") from None


# --- Studies of people's outcomes -------------------------------------------------------------------------


def _carers(seed: int, people: int, truth: studies.Truth) -> Iterator[Event]:
    in_group = round(people * 0.4)
    return studies.events(studies.carers(seed, in_group=in_group, controls=people - in_group, truth=truth))


def _mutual_help(seed: int, people: int, truth: studies.Truth) -> Iterator[Event]:
    third = people // 3
    return studies.events(
        studies.mutual_help(seed, members=people - 2 * third, others=third, treated=third, truth=truth)
    )


def _youth(seed: int, people: int, truth: studies.Truth) -> Iterator[Event]:
    waiting = people // 3
    return studies.events(studies.youth(seed, members=people - waiting, waiting=waiting, truth=truth))


def _of_carers(_: int, truth: studies.Truth) -> Sequence[Figure]:
    return (
        Figure("mixed_coefficient", truth.difference, "psychological distress", "arm: group"),
        Figure("mixed_coefficient", truth.wellbeing, "psychological distress", "wellbeing"),
        Figure("mixed_coefficient", -truth.employment, "psychological distress", "employment=homemaker"),
    )


def _of_mutual_help(_: int, truth: studies.Truth) -> Sequence[Figure]:
    return (
        Figure("overlap_weighted_difference", truth.difference),
        Figure("non_inferiority_difference", truth.professional, part="as allocated"),
    )


def _of_youth(_: int, truth: studies.Truth) -> Sequence[Figure]:
    return (Figure("dose_response_slope", truth.dose, part="all online groups"),)


# --- The others -------------------------------------------------------------------------------------------


def _community(seed: int, count: int, _: None) -> Iterator[Event]:
    return Community(seed, count).events()


def _of_community(_: int, __: None) -> Sequence[Figure]:
    return tuple(Figure("mean_difference", value, of=place) for place, value in PLANTED_EFFECT.items())


COMMUNITIES: Mapping[str, Known] = {
    each.name: each
    for each in (
        Known(
            "psycho-babble", "a forum as Hsiung 2000 counts it", "professional_moderation", "hsiung-2000",
            "synthetic-psycho-babble", DEFINITION, None, None,
            lambda seed, _, __: published.psycho_babble_events(seed), lambda _, __: published.PSYCHO_BABBLE,
        ),
        Known(
            "geramita", "a forum with the classes of Geramita et al. 2018", "professional_moderation",
            "geramita-2018", "synthetic-geramita", DEFINITION, None, None,
            lambda seed, _, __: published.geramita_events(seed), lambda _, __: published.GERAMITA,
        ),
        Known(
            "singapore", "a survey with the shares of Roystonn et al. 2020", "osg_prevalence",
            singapore.SURVEY, "synthetic-singapore", DEFINITION, None, None,
            lambda seed, _, __: singapore.events(seed), lambda _, __: singapore.FIGURES,
        ),
        Known(
            "moderation", "groups of four kinds of moderation, planted hazards", "professional_moderation",
            "synthetic-moderation", "synthetic-moderation", RECOVERY, 320, moderation.Truth(),
            moderation.events, moderation.figures,
        ),
        Known(
            "survey", "a household survey, planted odds ratios", "osg_prevalence", survey.SURVEY,
            "synthetic-survey", RECOVERY, 2000, survey.Truth(), survey.events, survey.figures,
        ),
        Known(
            "mens-groups", "men's groups: themes, agreement, replies, loneliness", "mens_groups",
            mens_groups.STUDY, "synthetic-mens-groups", RECOVERY, 120, mens_groups.Truth(),
            mens_groups.events, mens_groups.figures,
        ),
        Known(
            "features", "posts with numbers over three years, a drift and an interruption", "covid_change",
            "synthetic-covid", "synthetic-features", RECOVERY, 750, features.Truth(), features.events,
            features.figures,
        ),
        Known(
            "carers", "carers in a group and others", "carers_controlled", studies.CARERS, studies.TENANT,
            RECOVERY, 150, studies.Truth(), _carers, _of_carers,
        ),
        Known(
            "mutual-help", "members of mutual-help groups and others", "mutual_help", studies.MUTUAL_HELP,
            studies.TENANT, RECOVERY, 360, studies.Truth(), _mutual_help, _of_mutual_help,
        ),
        Known(
            "youth", "young members of online groups", "youth_online_peer_support", studies.YOUTH,
            studies.TENANT, RECOVERY, 240, studies.Truth(), _youth, _of_youth,
        ),
        Known(
            "community", "twelve weeks of support groups with a small trial", "carers_controlled",
            "synthetic-peer-group", "synthetic-groups", RECOVERY, 20_000, None, _community, _of_community,
            size_is="events",
        ),
    )
}  # fmt: skip
"""By name, in the order in which they are shown."""

"""Instruments that this deployment knows, and what their answers may be.

One YAML file each: the product's own in protos/instruments, an operator's in the data folder. How
scores are made and what they mean is the pipelines' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from circles.common.v1.common_pb2 import FieldViolation

from services.ingestion.rules import violation
from services.runtime.settings import IngestionSettings

OWN = Path(__file__).parents[2] / "protos" / "instruments"
LICENCES = ("open", "non_commercial", "registered", "closed")


@dataclass(frozen=True)
class Instrument:
    """Ranges include both ends; a total may be a fraction, an item's value is whole."""

    code: str
    versions: frozenset[str]
    count_items: int
    item_range: tuple[int, int]
    total_range: tuple[float, float]
    licence: str


@cache
def instruments() -> Mapping[str, Instrument]:
    """By code. An operator's file of the same name wins. Raises ValueError naming a file that is wrong."""
    folders = (OWN, IngestionSettings.load().instrument_folder)
    return {path.stem: _read(path) for folder in folders for path in sorted(folder.glob("*.yaml"))}


def is_known(instrument: str, version: str) -> bool:
    known = instruments().get(instrument)
    return known is not None and version in known.versions


def answer_violations(answer: Any) -> Iterator[FieldViolation]:
    """What is wrong with a QuestionnaireAnswered whose instrument `is_known`."""
    instrument = instruments()[answer.instrument]
    path = "questionnaire_answered"
    if answer.HasField("total"):
        least, most = instrument.total_range
        if not least <= answer.total <= most:
            rule = f"a total of {instrument.code}: from {least:g} to {most:g}"
            yield violation(f"{path}.total", answer.total, rule)
    elif instrument.code in _totals_only():
        rule = f"{instrument.code} is closed: its total only, unless the operator has a licence for items"
        yield violation(f"{path}.items", f"{len(answer.items)} entries", rule)
    else:
        yield from _item_violations(instrument, answer.items, f"{path}.items")


def _item_violations(instrument: Instrument, items: Any, path: str) -> Iterator[FieldViolation]:
    least, most = instrument.item_range
    for i, each in enumerate(items):
        if each.item > instrument.count_items:
            rule = f"an item of {instrument.code}: from 1 to {instrument.count_items}"
            yield violation(f"{path}[{i}].item", each.item, rule)
        if not least <= each.value <= most:
            rule = f"an item's value of {instrument.code}: from {least} to {most}"
            yield violation(f"{path}[{i}].value", each.value, rule)


@cache
def _totals_only() -> frozenset[str]:
    licensed = set(IngestionSettings.load().licensed_instruments.split(","))
    closed = {each.code for each in instruments().values() if each.licence == "closed"}
    return frozenset(closed - licensed)


def _read(path: Path) -> Instrument:
    try:
        body = yaml.safe_load(path.read_text())
        items, total = body["items"], body["total"]
        instrument = Instrument(
            code=path.stem,
            versions=frozenset(str(version) for version in body["versions"]),
            count_items=int(items["count"]),
            item_range=(int(items["least"]), int(items["most"])),
            total_range=(float(total["least"]), float(total["most"])),
            licence=body["licence"],
        )
    except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name}: not an instrument: {type(error).__name__}: {error}") from error
    if instrument.licence not in LICENCES:
        raise ValueError(f"{path.name}: licence: one of {', '.join(LICENCES)}")
    return instrument

"""Instruments that this deployment knows: versions, items and ranges, as data.

One YAML file each: the product's own in protos/instruments, an operator's in the data folder. What the
gateway refuses is `services.ingestion.instruments`'; how scores are made is the pipelines' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

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

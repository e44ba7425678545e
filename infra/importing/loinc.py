"""LOINC's codes of the instruments in the registry: what a questionnaire of FHIR calls their items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from services.runtime.instruments import OWN
from services.runtime.settings import IngestionSettings


@dataclass(frozen=True)
class Loinc:
    """Of one instrument. `panel` and `total` may be empty, `items` are in the instrument's order.

    `answers`: points by code of the answer.
    """

    instrument: str
    panel: str
    total: str
    items: tuple[str, ...]
    answers: Mapping[str, int]


@cache
def loinc_of() -> Mapping[str, Loinc]:
    """By instrument, of those whose file has codes. An operator's file of the same name wins."""
    folders = (OWN, IngestionSettings.load().instrument_folder)
    files = {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}
    read = {code: yaml.safe_load(path.read_text()) for code, path in files.items()}
    return {code: _loinc(code, body) for code, body in read.items() if body.get("loinc")}


def _loinc(instrument: str, body: Mapping[str, Any]) -> Loinc:
    block = body["loinc"]
    return Loinc(
        instrument=instrument,
        panel=block.get("panel", ""),
        total=block.get("total", ""),
        items=tuple(block.get("items", ())),
        answers=block.get("answers", {}),
    )

"""What answers to a questionnaire may be, by the instrument's ranges and its licence.

Which instruments are known, and where they stand, is `services.runtime.instruments`'. How scores are made and
what they mean is the pipelines' business.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from circles.common.v1.common_pb2 import FieldViolation

from services.ingestion.rules import violation
from services.runtime.instruments import Instrument, instruments
from services.runtime.settings import IngestionSettings


def answer_violations(answer: Any) -> Iterator[FieldViolation]:
    """What is wrong with a QuestionnaireAnswered whose instrument `is_known`."""
    instrument = instruments()[answer.instrument]
    path = "questionnaire_answered"
    if answer.HasField("total"):
        least, most = instrument.total.least, instrument.total.most
        if not least <= answer.total <= most:
            rule = f"a total of {instrument.code}: from {least:g} to {most:g}"
            yield violation(f"{path}.total", answer.total, rule)
    elif instrument.code in _totals_only():
        rule = f"{instrument.code} is closed: its total only, unless the operator has a licence for items"
        yield violation(f"{path}.items", f"{len(answer.items)} entries", rule)
    else:
        yield from _item_violations(instrument, answer.items, f"{path}.items")


def _item_violations(instrument: Instrument, items: Any, path: str) -> Iterator[FieldViolation]:
    known = instrument.items
    for i, each in enumerate(items):
        if each.item > known.count:
            rule = f"an item of {instrument.code}: from 1 to {known.count}"
            yield violation(f"{path}[{i}].item", each.item, rule)
        if not known.least <= each.value <= known.most:
            rule = f"an item's value of {instrument.code}: from {known.least} to {known.most}"
            yield violation(f"{path}[{i}].value", each.value, rule)


@cache
def _totals_only() -> frozenset[str]:
    licensed = set(IngestionSettings.load().licensed_instruments.split(","))
    closed = {each.code for each in instruments().values() if each.licence == "closed"}
    return frozenset(closed - licensed)

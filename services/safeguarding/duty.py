"""What the operator has decided, from settings: clocks, who is told of what, and where they are reached.

Raises ValueError, in words for the operator, for what cannot be meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from circles.common.v1.common_pb2 import DataClass
from circles.participation.v1.participation_event_pb2 import RiskKind

from services.runtime.settings import SafeguardingSettings
from services.runtime.webhook import Address, address
from services.safeguarding.cases import Alert, Clock, Level

WEBHOOK = "webhook"
ESCALATION = "escalation"


@dataclass(frozen=True)
class Duty:
    """Who is told of what."""

    clock: Clock
    addresses: dict[str, Address]
    levels: frozenset[str]
    data_classes: frozenset[int]
    contact: str

    def targets(self, alert: Alert) -> tuple[str, ...]:
        """To whom an alert is to be delivered."""
        if alert.case.data_class not in self.data_classes:
            return ()
        wanted = [WEBHOOK] if alert.level in self.levels else []
        wanted += [ESCALATION] if alert.level is Level.ESCALATED else []
        return tuple(target for target in wanted if target in self.addresses)


def duty(settings: SafeguardingSettings) -> Duty:
    """Raises ValueError."""
    addresses = {
        WEBHOOK: address("CIRCLES_SAFEGUARDING_WEBHOOK", settings.webhook_url, settings.webhook_secret_file),
        ESCALATION: address(
            "CIRCLES_SAFEGUARDING_ESCALATION", settings.escalation_url, settings.escalation_secret_file
        ),
    }
    known = {target: found for target, found in addresses.items() if found is not None}
    if ESCALATION in known and WEBHOOK not in known:
        raise ValueError("CIRCLES_SAFEGUARDING_ESCALATION_URL needs a WEBHOOK_URL: nothing else is escalated")
    levels = _words("WEBHOOK_LEVELS", settings.webhook_levels, set(Level))
    classes = _words("WEBHOOK_DATA_CLASSES", settings.webhook_data_classes, {"live", "public", "synthetic"})
    return Duty(
        clock=Clock(settings.answer_minutes, _minutes_by_kind(settings.answer_minutes_by_kind)),
        addresses=known,
        levels=levels,
        data_classes=frozenset(DataClass.Value(f"DATA_CLASS_{each.upper()}") for each in classes),
        contact=settings.contact,
    )


def _words(name: str, text: str, known: set[str]) -> frozenset[str]:
    words = frozenset(each.strip() for each in text.split(",") if each.strip())
    if unknown := words - known:
        raise ValueError(f"CIRCLES_SAFEGUARDING_{name} has {sorted(unknown)}; known are {sorted(known)}")
    return words


def _minutes_by_kind(text: str) -> dict[int, float]:
    found = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        word, _, minutes = pair.partition("=")
        name = f"RISK_KIND_{word.strip().upper()}"
        try:
            found[int(RiskKind.Value(name))] = float(minutes)
        except ValueError as error:
            raise ValueError(
                f"CIRCLES_SAFEGUARDING_ANSWER_MINUTES_BY_KIND has {pair!r}: suicide=15,self_harm=30 is meant"
            ) from error
        if not 0 < float(minutes) < float("inf"):
            raise ValueError(f"CIRCLES_SAFEGUARDING_ANSWER_MINUTES_BY_KIND: {pair!r} is not positive")
    return found

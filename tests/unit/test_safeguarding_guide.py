"""The operator's guide to safeguarding tells the truth: settings, body, headers, and how to verify them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from services.runtime.settings import SafeguardingSettings
from services.runtime.webhook import headers
from services.safeguarding.cases import Clock, Level, alerts, case_of, escalation
from services.safeguarding.messages import alert_body, sign_of_life_body
from tests.unit.test_safeguarding_cases import risk

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "safeguarding.md").read_text()
SECRET = b"s" * 32
BODY = b'{"level":"opened"}'


def _block(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(block)


def _is_genuine(given: dict[str, str], body: bytes, secret: bytes = SECRET) -> bool:
    """By the guide's own program."""
    program: dict[str, Any] = {}
    exec(_block("python"), program)  # noqa: S102
    return bool(program["is_genuine"](given, body, secret))


def test_what_we_sign_is_genuine_by_the_guide() -> None:
    assert _is_genuine(headers(SECRET, "alert-1", BODY, int(time.time())), BODY)


@pytest.mark.parametrize("age_seconds", [301, -301])
def test_what_is_old_or_of_the_future_is_refused(age_seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)  # else a second may go by, and the bound is not met
    assert not _is_genuine(headers(SECRET, "alert-1", BODY, int(time.time()) - age_seconds), BODY)


def test_what_was_changed_is_refused() -> None:
    given = headers(SECRET, "alert-1", BODY, int(time.time()))
    assert not _is_genuine(given, BODY + b" ")
    assert not _is_genuine(given, BODY, b"t" * 32)
    assert not _is_genuine(given | {"Circles-Timestamp": str(int(time.time()) - 1)}, BODY)
    assert not _is_genuine({}, BODY)


def test_the_guide_has_every_header() -> None:
    told = set(re.findall(r"^\| `([A-Z][\w-]+)` \| [^|]+\|$", GUIDE, re.MULTILINE))
    sent = set(headers(SECRET, "alert-1", BODY, 0))
    assert told - {"ACCEPT_RECREATED_INPUT"} == sent - {"Content-Type", "User-Agent"}


def test_the_guide_has_every_setting_with_its_default() -> None:
    rows = re.findall(r"^\| (`[A-Z_]+`(?:, `[A-Z_]+`)?) \| ([^|]+) \| [^|]+ \|$", GUIDE, re.MULTILINE)
    told: dict[str, str] = {}
    for names, defaults in rows:
        words = defaults.replace("`", "").split(", ") if ", `" in names else [defaults.replace("`", "")]
        keys = re.findall(r"[A-Z_]+", names)
        told |= dict(zip(keys, words * len(keys) if len(words) == 1 else words, strict=True))
    made = {name.upper(): _shown(each.default) for name, each in SafeguardingSettings.model_fields.items()}
    assert told == made


def _shown(default: object) -> str:
    if default in (None, ""):
        return "–"
    return f"{default:g}" if isinstance(default, float) else str(default).lower()


def test_the_guide_shows_the_body_as_it_is() -> None:
    case = case_of([risk(1, 0)], [], {}, Clock(60))
    assert case is not None
    opened, breached = alerts(case, case.due_at_us)
    shown = json.loads(_block("json"))
    sent = json.loads(alert_body(breached, 0, "Duty desk"))
    assert list(sent) == list(shown)
    assert {type(value) for value in sent.values()} == {type(value) for value in shown.values()}
    escalated = json.loads(alert_body(escalation(opened), 0, "Duty desk"))
    assert escalated.keys() - shown.keys() == {"contact"}
    assert list(json.loads(sign_of_life_body("test", "x", 0))) == [
        "alert_id",
        "level",
        "issued_at",
        "partitions",
    ]
    assert all(f"`{level}`" in GUIDE for level in Level)

"""Alerts by webhook: who may be reached, how they are signed, and how often it is tried."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.runtime.settings import SafeguardingSettings
from services.runtime.webhook import Address, Undelivered, check_url, post, session, signature
from services.safeguarding.cases import CaseKey, Level
from services.safeguarding.delivery import Delivery, Parcel
from services.safeguarding.duty import ESCALATION, WEBHOOK, duty
from tests.fakes.receiver import SECRET, Receiver, receiver

CASE = CaseKey("t", "case-1")


@pytest.fixture
def desk() -> Iterator[Receiver]:
    with receiver() as ours:
        yield ours


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "webhook.secret"
    path.write_bytes(SECRET + b"\n")
    return path


def load(home: Path, **values: Any) -> SafeguardingSettings:
    return SafeguardingSettings.load(**values)


def parcel(number: int = 1, level: Level = Level.OPENED, target: str = WEBHOOK) -> Parcel:
    return Parcel(target, f"alert-{number}", level, CASE, b'{"number":%d}' % number)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://desk.example.org/alerts?key=x", None),
        ("http://127.0.0.1:9000/alerts", None),
        ("http://[::1]:9000/", None),
        ("http://localhost:9000/", None),
        ("http://desk.example.org/", "neither https nor http on loopback"),
        ("http://127.0.0.1.example.org/", "neither https nor http on loopback"),
        ("ftp://127.0.0.1/", "neither https nor http on loopback"),
        ("https:///alerts", "no host in it"),
        ("https://user:password@desk.example.org/", "no user and no password in it: alerts are signed"),
    ],
)
def test_only_https_and_loopback_are_reached(url: str, problem: str | None) -> None:
    assert check_url(url) == problem


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"webhook_url": SecretStr("http://desk.example.org/hush")}, "neither https"),
        ({"webhook_url": SecretStr("https://desk.example.org/hush")}, "WEBHOOK_SECRET_FILE"),
        (
            {
                "escalation_url": SecretStr("https://desk.example.org/hush"),
                "escalation_secret_file": Path("x"),
            },
            "needs a WEBHOOK_URL",
        ),
        ({"webhook_levels": "opened,urgent"}, "urgent"),
        ({"webhook_data_classes": "real"}, "real"),
        ({"answer_minutes_by_kind": "suicide"}, "suicide=15"),
        ({"answer_minutes_by_kind": "sadness=15"}, "suicide=15"),
        ({"answer_minutes_by_kind": "suicide=0"}, "not positive"),
        ({"answer_minutes_by_kind": "suicide=nan"}, "not positive"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(home: Path, values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as refusal:
        duty(load(home, **values))
    assert "hush" not in str(refusal.value)


def test_a_signature_is_over_time_and_body() -> None:
    expected = "v1=6ff32e02fcf3009fff1516734a532ea82bc076a059a1907b31514430586f1e48"
    assert signature(b"k" * 32, "1780000000", b"{}") == expected
    assert signature(b"k" * 32, "1780000001", b"{}") != expected


def test_a_redirect_is_refused_and_not_followed(desk: Receiver, secret_file: Path) -> None:
    desk.status = 307
    with pytest.raises(Undelivered, match="redirect 307"):
        asyncio.run(_post_once(desk, secret_file))
    assert [each.path for each in desk.received] == ["/alerts"]


def test_a_receiver_that_does_not_answer_is_given_up(desk: Receiver, secret_file: Path) -> None:
    desk.delay_seconds = 2
    begun = time.monotonic()
    with pytest.raises(Undelivered, match="Timeout"):
        asyncio.run(_post_once(desk, secret_file, timeout_seconds=0.3))
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("content", [None, b"short"])
def test_without_a_good_secret_nothing_is_posted(
    desk: Receiver, secret_file: Path, content: bytes | None
) -> None:
    if content is None:
        secret_file.unlink()
    else:
        secret_file.write_bytes(content)
    with pytest.raises(Undelivered, match="secret"):
        asyncio.run(_post_once(desk, secret_file))
    assert not desk.received


async def _post_once(desk: Receiver, secret_file: Path, timeout_seconds: float = 5) -> int:
    async with session(timeout_seconds) as http:
        return await post(http, Address(desk.url, secret_file), "alert-1", b"{}")


Scenario = Callable[[Delivery, list[Parcel]], Coroutine[Any, Any, None]]


def deliver(home: Path, addresses: dict[str, Address], scenario: Scenario) -> list[Parcel]:
    """What was delivered in the end."""
    settings = load(home, webhook_retry_seconds=0.05, webhook_max_retry_seconds=0.1)
    delivered: list[Parcel] = []

    async def run() -> None:
        delivery = Delivery(settings, addresses, delivered.append)
        try:
            await scenario(delivery, delivered)
        finally:
            await delivery.close()

    asyncio.run(run())
    return delivered


async def _until(delivery: Delivery, condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            delivery.start_due()
            await asyncio.sleep(0.01)


def test_it_is_tried_until_it_is_taken(
    home: Path, desk: Receiver, secret_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the same id and with the same body, signed anew each time; the log has no address."""
    desk.statuses = [500, 302, 400]

    async def scenario(delivery: Delivery, delivered: list[Parcel]) -> None:
        delivery.want(CASE, [parcel()])
        await _until(delivery, lambda: bool(delivered))

    with caplog.at_level(logging.WARNING):
        assert deliver(home, {WEBHOOK: Address(desk.url, secret_file)}, scenario) == [parcel()]
    assert [each.headers["Idempotency-Key"] for each in desk.received] == ["alert-1"] * 4
    assert {each.body for each in desk.received} == {b'{"number":1}'}
    assert caplog.text.count("not delivered") == 3
    assert desk.url not in caplog.text and "case-1" not in caplog.text


def test_what_no_longer_holds_is_not_tried_again(home: Path, desk: Receiver, secret_file: Path) -> None:
    desk.status = 503

    async def scenario(delivery: Delivery, delivered: list[Parcel]) -> None:
        delivery.want(CASE, [parcel(1)])
        await _until(delivery, lambda: len(desk.received) > 1)
        delivery.want(CASE, [parcel(2, Level.CLOSED)])
        desk.status = 200
        await _until(delivery, lambda: bool(delivered))
        delivery.want(CASE, [])
        assert delivery.count_undelivered == 0

    assert deliver(home, {WEBHOOK: Address(desk.url, secret_file)}, scenario) == [parcel(2, Level.CLOSED)]


def test_a_dead_receiver_does_not_delay_another(home: Path, desk: Receiver, secret_file: Path) -> None:
    """Nor does one that is no longer in the settings."""
    with receiver() as dead:
        gone = dead.url

    async def scenario(delivery: Delivery, delivered: list[Parcel]) -> None:
        delivery.want(CASE, [parcel(1), parcel(2, Level.ESCALATED, ESCALATION), parcel(3, target="former")])
        await _until(delivery, lambda: bool(delivered))
        assert delivery.count_undelivered == 3

    addresses = {WEBHOOK: Address(gone, secret_file), ESCALATION: Address(desk.url, secret_file)}
    assert deliver(home, addresses, scenario) == [parcel(2, Level.ESCALATED, ESCALATION)]


def test_waits_grow_up_to_a_limit_and_differ(home: Path) -> None:
    settings = load(home, webhook_retry_seconds=1, webhook_max_retry_seconds=60)

    async def waits() -> list[float]:
        delivery = Delivery(settings, {}, lambda _: None)
        try:
            return [delivery._wait_seconds(count) for count in [1, 2, 3, *range(4, 2000)]]
        finally:
            await delivery.close()

    first, second, third, *others = asyncio.run(waits())
    assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4
    assert max(others) <= 60
    assert len(set(others)) > 100

"""`circles safeguarding`: what it shows is `duty`'s; and a test of the webhooks."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from typing import Any

import click


@click.group(invoke_without_command=True)
@click.option("--all", "with_closed", is_flag=True, help="Closed cases as well.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def safeguarding(context: click.Context, with_closed: bool, as_json: bool) -> None:
    """Show open safeguarding cases, undelivered alerts and heartbeats. Confidential.

    Exit code 1: a heartbeat is missing. Circles is no crisis service.
    """
    if context.invoked_subcommand is None:
        from infra.cli.duty import show

        sys.exit(show(with_closed=with_closed, as_json=as_json))


@safeguarding.command("test-webhook")
@click.option("--escalation", is_flag=True, help="The other address, CIRCLES_SAFEGUARDING_ESCALATION_URL.")
def test_webhook(escalation: bool) -> None:
    """Send a signed test alert, once, and say what came back."""
    from infra.local.errors import StackError
    from services.runtime.settings import SafeguardingSettings
    from services.safeguarding.duty import ESCALATION, WEBHOOK, duty

    target = ESCALATION if escalation else WEBHOOK
    setting = f"CIRCLES_SAFEGUARDING_{target.upper()}_URL"
    settings = SafeguardingSettings.load()
    try:
        addresses = duty(settings).addresses
    except ValueError as refusal:
        raise StackError(f"{refusal}.", "docs/guides/safeguarding.md has all settings.") from refusal
    if target not in addresses:
        raise StackError(f"{setting} is not set.", "docs/guides/safeguarding.md has all settings.")
    alert_id = str(uuid.uuid4())
    click.echo(asyncio.run(_post_test(addresses[target], alert_id, settings.webhook_timeout_seconds)))


async def _post_test(address: Any, alert_id: str, timeout_seconds: float) -> str:
    from infra.local.errors import StackError
    from services.runtime.webhook import Undelivered, post, session
    from services.safeguarding.messages import sign_of_life_body

    body = sign_of_life_body("test", alert_id, time.time_ns() // 1000)
    async with session(timeout_seconds) as http:
        try:
            status = await post(http, address, alert_id, body)
        except Undelivered as reason:
            raise StackError(
                f"Test alert {alert_id} was not taken: {reason}.",
                "A receiver answers 2xx, without a redirect, after it has checked the signature.",
            ) from reason
    return f"Test alert {alert_id} was taken with status {status}."

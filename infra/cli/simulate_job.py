"""One simulated community: made, brought into disorder, posted at a rate, and told beside its truth.

It posts as any partner does, and as a tenant of the class synthetic alone.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import click
from circles.common.v1.common_pb2 import DATA_CLASS_SYNTHETIC, DataClass

from infra.cli.bars import bars
from infra.cli.passing_keys import passing_key, tenant_of
from infra.cli.tables import print_table
from infra.local.errors import StackError
from services.client import Client, ClientError, Event, Summary
from services.runtime.settings import IngestionSettings, PartnerSettings
from services.simulator.catalogue import COMMUNITIES, Simulated
from services.simulator.disorder import Disorder, count_people, disordered

TICK_SECONDS = 0.2
"""With a rate: how much is posted at once."""
SHOWN_REFUSED = 20


@dataclass(frozen=True)
class Job:
    """The command's options."""

    community: str
    seed: int
    size: int | None
    pairs: Mapping[str, str]
    rate: float | None
    disorder: Disorder
    tenant: str | None
    truth: Path | None
    is_dry_run: bool

    def run(self) -> bool:
        """Whether all went well. Raises StackError with what to do next."""
        simulated, events = self._simulated()
        told = disordered(events, self.disorder, self.seed)
        _show_events(simulated, events, told)
        if self.is_dry_run:
            click.echo("Nothing was posted.")
            summary = Summary()
        else:
            summary = self._post(simulated, told)
            _show_summary(len(told), summary)
        if self.truth is not None:
            self.truth.write_text(json.dumps(simulated.truth(), indent=2) + "\n")
        _show_truth(simulated)
        return not summary.refused

    def _simulated(self) -> tuple[Simulated, list[Event]]:
        known = COMMUNITIES.get(self.community)
        if known is None:
            raise StackError(
                f"There is no community {self.community!r}.",
                f"There are {', '.join(COMMUNITIES)}: `circles simulate --list` tells what they are.",
            )
        try:
            simulated = known.simulated(self.seed, self.size, known.with_parameters(self.pairs))
            return simulated, list(simulated.events())
        except (ValueError, ArithmeticError) as refusal:
            raise StackError(
                f"{refusal}.", "`circles simulate --list` shows what can be chosen."
            ) from refusal

    def _post(self, simulated: Simulated, events: Sequence[Event]) -> Summary:
        address = PartnerSettings.load().address or f"127.0.0.1:{IngestionSettings.load().port}"
        with _key(self.tenant, simulated.tenant) as (tenant, key):
            click.echo(f"Posting as {tenant}, data class synthetic.")
            try:
                with Client(address, key) as client, bars() as shown:
                    task = shown.add_task(f"posting {self.community}", total=len(events))
                    return posted(client, events, self.rate, lambda count: shown.advance(task, count))
            except ClientError as error:
                raise StackError(
                    str(error), "The same command again: what has arrived counts once."
                ) from error
            except ValueError as refusal:
                raise StackError(f"{refusal}.", "Run it where the gateway is.") from refusal


@contextmanager
def _key(tenant: str | None, default: str) -> Iterator[tuple[str, str]]:
    """The tenant, of the class synthetic, and a key of it: the one that was given, or one that passes."""
    given = PartnerSettings.load().key.get_secret_value().strip()
    if not given:
        with passing_key(tenant or default, "synthetic") as key:
            yield tenant or default, key
        return
    found = tenant_of(given)
    if found.data_class != DATA_CLASS_SYNTHETIC:
        name = DataClass.Name(found.data_class).removeprefix("DATA_CLASS_").lower()
        raise StackError(
            f"Nothing was posted: {found.tenant_id} has {name} data, and nobody of these people lives.",
            "Use a key of a synthetic tenant, or unset CIRCLES_PARTNER_KEY.",
        )
    if tenant not in (None, found.tenant_id):
        raise StackError(
            f"Nothing was posted: the key in CIRCLES_PARTNER_KEY is of {found.tenant_id}, not of {tenant}.",
            "Leave out --tenant, or unset CIRCLES_PARTNER_KEY.",
        )
    yield found.tenant_id, given


def posted(
    client: Client, events: Sequence[Event], rate: float | None, on_progress: Callable[[int], object]
) -> Summary:
    """All in their order; with `rate` so many a second, in small parts, each answered before the next."""
    if rate is None:
        return client.post(events, on_progress)
    whole, waiting = Summary(), iter(events)
    began, count = time.monotonic(), 0
    while part := list(islice(waiting, max(1, round(rate * TICK_SECONDS)))):
        time.sleep(max(0.0, began + count / rate - time.monotonic()))
        _add(whole, client.post(part, on_progress))
        count += len(part)
    return whole


def _add(whole: Summary, part: Summary) -> None:
    whole.count_accepted += part.count_accepted
    whole.count_duplicates += part.count_duplicates
    whole.count_deferred += part.count_deferred
    whole.count_late += part.count_late
    whole.refused += part.refused


# What is shown -------------------------------------------------------------------------------------------


def show_communities() -> None:
    """All of them, and the parameters of each."""
    print_table(
        ("community", "what", "system", "proof", "size", "tenant"),
        [
            [each.name, each.title, each.system, each.proof,
             f"{each.size:,} {each.size_is}" if each.size else "as published", each.tenant]
            for each in COMMUNITIES.values()
        ],
    )  # fmt: skip
    click.echo("What --set can change, and what it is otherwise:")
    for each in COMMUNITIES.values():
        if each.parameters:
            click.echo(
                f"  {each.name}: {', '.join(f'{name}={value}' for name, value in each.parameters.items())}"
            )


def _show_events(simulated: Simulated, events: Sequence[Event], told: Sequence[Event]) -> None:
    known = simulated.known
    click.secho(f"{known.name}: {known.title} ({known.proof}; about nobody).", bold=True)
    for kind, count in sorted(Counter(str(event.WhichOneof("kind")) for event in events).items()):
        click.echo(f"{count:>9,}  {kind}")
    click.echo(f"{len(events):>9,}  events, {count_people(events):,} people who consent to research")
    if len(told) != len(events):
        click.echo(f"{len(told):>9,}  events with what is told twice, taken back, or of others")


def _show_summary(count: int, summary: Summary) -> None:
    late = f", {summary.count_late:,} of them too old for live figures" if summary.count_late else ""
    click.echo(f"{count:>9,}  posted")
    click.echo(f"{summary.count_accepted:>9,}  accepted{late}")
    click.echo(f"{summary.count_duplicates:>9,}  known already")
    if summary.count_deferred:
        click.echo(f"{summary.count_deferred:>9,}  set aside until the operator knows the instrument")
    click.echo(f"{len(summary.refused):>9,}  refused")
    for event, result in summary.refused[:SHOWN_REFUSED]:
        for each in result.violations or ():
            words = f"{event.WhichOneof('kind')} {event.event_id}: {each.field}: should be {each.rule}"
            click.echo(f"  {words}", err=True)


def _show_truth(simulated: Simulated) -> None:
    known = simulated.known
    click.echo(f"{_WORDS[known.proof]} (evidence.{known.system}, study {known.study}):")
    told = simulated.figures()
    columns = [name for name in _COLUMNS if any(getattr(each, name) != "" for each in told)]
    print_table(
        [_COLUMNS[name] for name in columns],
        [[_shown(getattr(each, name)) for name in columns] for each in told],
    )


def _shown(value: str | float) -> str | float | None:
    if isinstance(value, str):
        return value or None
    return int(value) if float(value).is_integer() else float(f"{value:.6g}")


_COLUMNS = {"name": "figure"} | {name: name for name in ("outcome", "part", "of", "value", "printed")}
_WORDS = {"definition test": "What must come out", "recovery": "What is planted"}

"""`circles slices`: what admission has blocked, and the operator's decisions. What follows from a decision is
`pipelines.quality.admission`'s and staging's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import click

_NOTE = click.option("--note", default="", help="Why, in a few words. Never a name, a reference or an id.")
_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.group(invoke_without_command=True)
@click.option("--all", "with_decided", is_flag=True, help="Released and rejected ones as well.")
@click.pass_context
def slices(context: click.Context, with_decided: bool) -> None:
    """Show blocked slices: one tenant's rows of one raw table that wait for a decision.

    A slice is blocked when its rows break a rule; other tenants' rows go on.
    """
    if context.invoked_subcommand is None:
        _show(with_decided)


@slices.command()
@click.argument("slice_id", type=int, metavar="ID")
@_NOTE
@_YES
def release(slice_id: int, note: str, yes: bool) -> None:
    """Let slice ID pass after all, also one that was rejected. The next build stages it."""
    from pipelines.quality.admission import release as let_pass

    _confirm(slice_id, note, "" if yes else "Let it pass?")
    _decide(let_pass, slice_id, note)
    click.echo("The next build stages it: with new data, or at 03:00 UTC.")


@slices.command()
@click.argument("slice_id", type=int, metavar="ID")
@_NOTE
@_YES
def reject(slice_id: int, note: str, yes: bool) -> None:
    """Keep slice ID out. Its events count as failed, with the rules that it broke as reason."""
    from pipelines.quality.admission import reject as keep_out

    _confirm(slice_id, note, "" if yes else "Keep it out?")
    _decide(keep_out, slice_id, note)
    click.echo("It stays out; from the next build on its events are among the failed ones, as `rejected`.")


def _show(with_decided: bool) -> None:
    from infra.cli.tables import print_table

    columns = ("slice", "raw table", "tenant", "landings", "rows", "state", "broken rules", "since", "note")
    found = _blocked(with_decided)
    if found:
        print_table(columns, map(_cells, found))
    if not any(each.state == "blocked" for each in found):
        click.echo("No slice is blocked.")


def _cells(each: Any) -> list[Any]:
    landings = f"{each.first_landed_seq}–{each.last_landed_seq}"
    since = each.since.isoformat(sep=" ", timespec="seconds")
    place = [each.slice_id, each.raw_table, each.tenant_id or "(unknown)", landings, each.count_rows]
    return [*place, each.state, each.reason, since, each.note]


def _confirm(slice_id: int, note: str, question: str) -> None:
    """Says what the slice is, and asks, unless there is no question."""
    from pipelines.quality.admission import UnknownSlice, check_note

    with _explained():
        check_note(note)
        found = {each.slice_id: each for each in _blocked(with_decided=True)}.get(slice_id)
        if found is None:
            raise UnknownSlice(f"There is no blocked slice {slice_id}")
    click.echo(f"{found.count_rows} rows of raw.{found.raw_table}, tenant {found.tenant_id or '(unknown)'}.")
    click.echo(f"{found.state.capitalize()}: {found.reason}")
    if question:
        click.confirm(question, abort=True)


def _decide(decide: Callable[..., int], slice_id: int, note: str) -> None:
    from infra.cli.sql import open_lake
    from services.runtime.settings import PostgresSettings

    with _explained(), closing(open_lake(read_only=False)) as lake:
        decide(lake, PostgresSettings.load(), slice_id, note)


@contextmanager
def _explained() -> Iterator[None]:
    from infra.local.errors import StackError
    from pipelines.quality.admission import BadNote, UnknownSlice

    try:
        yield
    except UnknownSlice as error:
        raise StackError(f"{error}.", "`circles slices --all` shows which there are.") from error
    except BadNote as error:
        raise StackError(f"{error}.", "The ledger is kept: say why without saying who.") from error


def _blocked(with_decided: bool) -> list[Any]:
    """Empty when nothing was ever admitted."""
    from infra.cli.sql import open_lake
    from pipelines.quality.admission import blocked_slices, has_ledger

    with closing(open_lake()) as lake:
        return list(blocked_slices(lake, decided=with_decided)) if has_ledger(lake) else []

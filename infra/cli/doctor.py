"""`circles doctor`: the findings as a page for people or programs. What is asked is `questions`'."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click

from infra.cli.questions import OK, PROBLEM, WARNING, Finding, ask_all

_COLOURS = {OK: "green", WARNING: "yellow", PROBLEM: "red"}


def show(*, as_json: bool) -> int:
    """Prints what was found. Returns 1 when something is a problem."""
    found = ask_all()
    if as_json:
        page = [{"question": name, **asdict(each)} for name, each in found.items()]
        json.dump(page, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        for name, each in found.items():
            _print(name, each)
        click.echo(_summary([each.state for each in found.values()]))
    return 1 if any(each.state == PROBLEM for each in found.values()) else 0


def _print(name: str, finding: Finding) -> None:
    state = click.style(f"{finding.state:8}", fg=_COLOURS[finding.state])
    click.echo(f"{state} {name}: {finding.found}")
    for words in filter(None, (finding.means, finding.do and f"→ {finding.do}")):
        click.echo(f"{'':9}{words}")


def _summary(states: list[str]) -> str:
    problems, warnings = states.count(PROBLEM), states.count(WARNING)
    if problems:
        return f"Problems: {problems}. Begin with the first: others may follow from it."
    return f"Nothing is wrong. Warnings: {warnings}."

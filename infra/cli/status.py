"""`circles status`: one page about processes, addresses, lags and counts.

Whatever cannot be asked now is shown as a dot; the page itself never fails.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.cli import duty, figures
from infra.local import processes as stack_processes
from infra.local import stack_env
from infra.local.supervision import State, Supervisor
from services.runtime import heartbeat
from services.runtime.settings import KafkaSettings, PostgresSettings, home

_COLOURS = {"ready": "green", "running": "green", "stopped": "dim", "not started": "dim"}
HEALTHY = _COLOURS.keys()


@dataclass(frozen=True)
class Line:
    """One process. `state` is the service's own word where it has one, else the supervisor's."""

    process: str
    state: str
    pid: int | None
    uptime_seconds: int | None
    address: str | None
    alarms: tuple[str, ...] = ()
    """What it waits for, and what to do."""


def show(*, as_json: bool = False) -> int:
    """Prints the page. Returns 0 when every process that was started is healthy, else 1."""
    lines = processes()
    page = {
        "home": str(home()),
        "processes": [asdict(line) for line in lines],
        "left_over": len(Supervisor(home()).orphans()),
        "safeguarding": duty.summary(),
        "addresses": addresses(),
        **figures.gather(),
    }
    if as_json:
        json.dump(page, sys.stdout, indent=2)
        sys.stdout.write("\n")
    else:
        _print(page)
    return 0 if all(line.state in HEALTHY for line in lines) and not page["left_over"] else 1


def processes() -> list[Line]:
    """All processes, also those that were never started."""
    states = Supervisor(home()).states()
    ports = stack_env.ports()
    return [line_of(each.name, states.get(each.name), ports) for each in stack_processes.processes()]


def addresses() -> dict[str, str]:
    """Where a person or program connects. Passwords are in `stack.env`."""
    ports, postgres = stack_env.ports(), PostgresSettings.load()
    return {
        "Dagster": f"http://127.0.0.1:{ports['dagster']}",
        **(
            {"Dagster (to look)": f"http://127.0.0.1:{ports['dagster-viewer']}"}
            if "dagster-viewer" in ports
            else {}
        ),
        "gRPC": f"127.0.0.1:{ports['ingestion']}",
        "SQL (published)": f"postgresql://{postgres.host}:{postgres.port}/{postgres.database_published}",
        "Kafka": KafkaSettings.load().bootstrap,
        "passwords": str(home() / "stack.env"),
    }


def line_of(name: str, state: State | None, ports: dict[str, int]) -> Line:
    """A process as the supervisor and its own heartbeat tell of it."""
    port = ports.get("dagster" if name == "dagster-webserver" else name)
    address = f"127.0.0.1:{port}" if port else None
    if state is None or state.state == "STOPPED":
        return Line(name, "not started" if state is None or not state.pid else "stopped", None, None, address)
    beat = heartbeat.read(name)
    word = state.state.lower()
    alarms: tuple[str, ...] = ()
    if state.state == "RUNNING" and name in stack_processes.SERVICES:
        word = beat.state if beat and beat.pid == state.pid else "starting"
        if beat and beat.pid == state.pid:
            alarms = beat.alarms
        if beat and beat.state == "ready" and not beat.is_ready:
            word = "silent"
    return Line(name, word, state.pid or None, state.uptime_seconds, address, alarms)


def _print(page: dict[str, Any]) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(_process_table(page["processes"]))
    for line in page["processes"]:
        for alarm in line["alarms"]:
            console.print(f"[red]{line['process']}: {escape(alarm)}[/]\n")
    if page["left_over"]:
        console.print(
            f"[red]{page['left_over']} processes outlived their supervisor.[/] `circles down` ends them, "
            "`circles up` ends them and starts anew."
        )
    if not any(line["pid"] for line in page["processes"]):
        console.print("Nothing runs. `circles up` starts it.\n")
    else:
        console.print(_safeguarding_line(page["safeguarding"]))
    for title, key, columns in (
        ("Kafka", "topics", ("topic", "messages", "consumer", "lag")),
        ("Rows", "counts", ("table", "rows")),
    ):
        if page[key]:
            console.print(_table(title, columns, [tuple(each.values()) for each in page[key]]))
    addresses = Table.grid(padding=(0, 2))
    for name, address in page["addresses"].items():
        addresses.add_row(name, address)
    console.print(addresses)


def _safeguarding_line(page: dict[str, Any]) -> str:
    """Cases that need somebody, and whether the path lives."""
    age = page["heartbeat_age_seconds"]
    words = [
        f"Safeguarding: {_cell(page['open_cases'])} open",
        f"{_cell(page['breached_cases'])} breached",
        f"{_cell(page['undelivered_alerts'])} alerts undelivered",
        "no heartbeat" if age is None else f"heartbeat {age} s ago",
    ]
    is_bad = page["breached_cases"] or page["undelivered_alerts"] or duty.is_late(age)
    if is_bad and page["contact"]:
        words.append(f"call {escape(page['contact'])}")
    return f"[red]{', '.join(words)}[/]\n" if is_bad else f"{', '.join(words)}\n"


def _process_table(lines: list[dict[str, Any]]) -> Table:
    rows = []
    for line in lines:
        colour = _COLOURS.get(line["state"], "red")
        state = f"[{colour}]{line['state']}[/]"
        rows.append(
            (
                line["process"],
                state,
                line["pid"] and str(line["pid"]),
                _duration(line["uptime_seconds"]),
                line["address"],
            )
        )
    return _table("", ("process", "state", "pid", "uptime", "address"), rows)


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Table:
    table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in ("pid", "messages", "lag", "rows") else "left")
    for row in rows:
        table.add_row(*map(_cell, row))
    return table


def _cell(value: str | int | None) -> str:
    if value is None:
        return "·"
    return f"{value:,}" if isinstance(value, int) else value


def _duration(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"

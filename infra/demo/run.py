"""`circles demo`: everything from the first process to the printed evidence, with progress throughout.

Each step is what a user would do by hand; the data are made in the modules beside this one.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from infra.cli.figures import gather
from infra.cli.passing_keys import passing_key
from infra.cli.progress import Progress as StackProgress
from infra.demo import bcg_trials, beat_the_blues, builds, reviews, southern_women
from infra.demo.evidence import SIMULATED, print_evidence, print_where_to_look
from infra.local import stack
from infra.local.errors import StackError
from infra.local.supervision import Supervisor
from pipelines.quality.admission import newest_pending
from services.client import Client, Event
from services.runtime.lake import open_lake
from services.runtime.settings import IngestionSettings, StackSettings, home
from services.simulator import studies
from services.simulator.catalogue import COMMUNITIES
from services.simulator.community import Community

COMMUNITY_TENANT = "synthetic-community"
COMMUNITY_SEED = 1
LANDING_SECONDS = 180
BUILD_SECONDS = 600
NO_DAGSTER = ("dagster-*",)


@dataclass(frozen=True)
class Source:
    """One partner of the demo."""

    tenant_id: str
    data_class: str
    title: str
    events: Callable[[], Iterator[Event]]


def run_demo(*, keep: bool, count_events: int) -> None:
    """Prints the evidence. Raises StackError with what to do next.

    A stack that was running before goes on running; otherwise it is stopped unless `keep`.
    """
    started_at = time.monotonic()
    keep = keep or Supervisor(home()).is_alive()
    try:
        _start(*NO_DAGSTER)
        with _bars() as bars:
            for source in _sources(count_events):
                _post(source, bars)
            _wait_until_landed(bars)
        # Only now: its sensor would start a build for each part of the data.
        _start()
        with _bars() as bars:
            _wait_until_built(bars)
        print_evidence(COMMUNITY_TENANT)
    finally:
        if not keep:
            with StackProgress() as progress:
                stack.down(progress)
    click.echo()
    print_where_to_look(is_kept=keep)
    click.echo(f"Done after {time.monotonic() - started_at:.0f} s.")


def _sources(count_events: int) -> Iterator[Source]:
    yield Source(beat_the_blues.TENANT, "public", "Beat-the-Blues trial", beat_the_blues.events)
    yield Source(southern_women.TENANT, "public", "attendance of 18 women", southern_women.events)
    yield Source(bcg_trials.TENANT, "public", "13 vaccine trials", bcg_trials.events)
    yield Source(reviews.TENANT, "public", "studies of two reviews", reviews.events)
    yield Source(studies.TENANT, "synthetic", "synthetic studies", _studies)
    for known in map(COMMUNITIES.__getitem__, SIMULATED):
        yield Source(known.tenant, "synthetic", f"{known.name} (simulated)", known.simulated().events)
    community = Community(COMMUNITY_SEED, count_events)
    yield Source(COMMUNITY_TENANT, "synthetic", "synthetic community", community.events)


def _studies() -> Iterator[Event]:
    """A worked example of each system that compares people."""
    for made in (studies.carers, studies.mutual_help, studies.youth):
        yield from studies.events(made(COMMUNITY_SEED))


def _start(*without: str) -> None:
    with StackProgress() as progress:
        stack.up({}, without, progress)


def _post(source: Source, bars: Progress) -> None:
    """Posts a source's events with a key of its own that ends with the demo."""
    task = bars.add_task(f"making {source.title}", total=None)
    events = list(source.events())
    bars.update(task, description=f"posting {source.title}", total=len(events))
    address = f"127.0.0.1:{IngestionSettings.load().port}"
    with passing_key(source.tenant_id, source.data_class) as key, Client(address, key) as client:
        summary = client.post(events, lambda count: bars.advance(task, count))
    if summary.refused:
        first = summary.refused[0].result
        raise StackError(f"{len(summary.refused)} events of {source.title} were refused: {first}", "")


def _wait_until_landed(bars: Progress) -> None:
    task = bars.add_task("landing in the lake, computing live figures", total=None)
    deadline = time.monotonic() + LANDING_SECONDS
    while time.monotonic() < deadline:
        lags = [line["lag"] for line in gather()["topics"]]
        if lags and sum(lags) == 0:
            bars.update(task, total=1, completed=1)
            return
        waiting = f"landing in the lake, computing live figures ({sum(lags)} records to go)"
        bars.update(task, description=waiting)
        time.sleep(0.5)
    raise StackError(f"The events did not land within {LANDING_SECONDS} s.", "`circles logs landing`")


def _wait_until_built(bars: Progress) -> None:
    """Returns when the sensor's run has released everything that has landed."""
    port = StackSettings.load().dagster_port
    task = bars.add_task("waiting for Dagster's new-data sensor", total=None)
    deadline = time.monotonic() + BUILD_SECONDS
    while time.monotonic() < deadline:
        run = builds.newest_run(port)
        if run is not None and run.is_unfinished:
            doing = ", ".join(run.steps_under_way) or run.status.lower()
            bars.update(task, description=f"building: {doing}", completed=run.steps_done)
        elif run is not None and run.status != "SUCCESS":
            page = f"http://127.0.0.1:{port}/runs/{run.run_id}"
            raise StackError(f"The build ended with {run.status}.", f"KEEP=1 make demo, then look at {page}")
        elif run is not None and not _is_pending():
            bars.update(task, description="built and released", total=1, completed=1)
            return
        time.sleep(1)
    raise StackError(f"No release within {BUILD_SECONDS} s.", "`circles logs dagster-daemon`")


def _is_pending() -> bool:
    with contextlib.closing(open_lake()) as lake:
        return newest_pending(lake) is not None


def _bars() -> Progress:
    # A log has no width of its own; 80 columns would cut the figures off.
    width = None if sys.stderr.isatty() else 120
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True, width=width),
    )

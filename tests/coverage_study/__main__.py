"""`make coverage-study`, or `python -m tests.coverage_study`: finished scenarios are kept, and a run that was
broken off goes on. Exit code 1: a figure is not as expected.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tests.coverage_study import closed_forms, looks, models, pools
from tests.coverage_study.declarations import Scenario
from tests.coverage_study.results import RESULTS, failed, text
from tests.coverage_study.tallies import Tally, fingerprint, keep, kept, simulate

STATE = Path(__file__).parents[2] / ".coverage-study"
DATASETS, LEAST = 4_000, 2_000
"""By default, and for results that are written down."""
_Finished = tuple[str, dict[str, Tally]]


@cache
def declared() -> tuple[Scenario, ...]:
    return (*closed_forms.scenarios(), *pools.scenarios(), *models.scenarios(), *looks.scenarios())


def main() -> int:
    """1: a figure is not as expected; 130: broken off."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    scenarios = [each for each in declared() if options.only in each.name]
    if options.bands:
        print(text(scenarios, {}, options.datasets), end="")
        return 0
    if options.fresh:
        shutil.rmtree(options.state, ignore_errors=True)
    try:
        found = _carry_on(scenarios, options)
    except KeyboardInterrupt:
        print(
            "Broken off. `make coverage-study` goes on after the scenarios that are finished.",
            file=sys.stderr,
        )
        return 130
    told = text(scenarios, found, options.datasets)
    if options.only or options.datasets < LEAST:
        print(told, end="")
    else:
        RESULTS.write_text(told)
    failures = [line for scenario in scenarios for line in failed(scenario, found[scenario.name])]
    _say(f"{len(failures)} of {sum(len(each.figures) for each in scenarios)} figures are not as expected.")
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coverage-study", description=__doc__)
    parser.add_argument("--datasets", type=int, default=DATASETS, help="of each scenario")
    parser.add_argument("--processes", type=int, choices=(1, 2), default=min(2, os.cpu_count() or 1))
    parser.add_argument("--only", default="", help="scenarios with this in their name; results are printed")
    parser.add_argument("--bands", action="store_true", help="print what is expected, and run nothing")
    parser.add_argument("--fresh", action="store_true", help="forget what is done, and begin anew")
    parser.add_argument("--state", type=Path, default=STATE, help="where finished scenarios are kept")
    return parser.parse_args()


def _carry_on(scenarios: Sequence[Scenario], options: argparse.Namespace) -> dict[str, dict[str, Tally]]:
    """Tallies of all, those that were kept among them."""
    marks = {each.name: fingerprint(each, options.datasets) for each in scenarios}
    found = {
        name: tallies
        for name, mark in marks.items()
        if (tallies := kept(options.state, mark, name)) is not None
    }
    by_name = {each.name: each for each in scenarios}
    left = [each for each in scenarios if each.name not in found]
    _say(f"{len(found)} of {len(scenarios)} scenarios are done; state in {options.state}")
    began = time.monotonic()
    for name, tallies in _simulated(left, options):
        keep(options.state, marks[name], name, tallies)
        found[name] = tallies
        failures = failed(by_name[name], tallies)
        _say(f"{len(found)}/{len(scenarios)} {name}, {time.monotonic() - began:.0f} s")
        _say("".join(f"  FAILS: {each}\n" for each in failures), end="")
    return found


def _simulated(scenarios: Sequence[Scenario], options: argparse.Namespace) -> Iterator[_Finished]:
    """As they are finished. Other processes are told names: what a scenario asks cannot be sent."""
    if options.processes == 1:
        yield from ((each.name, simulate(each, options.datasets)) for each in scenarios)
        return
    work = [(each.name, options.datasets) for each in scenarios]
    with multiprocessing.Pool(options.processes, _leave_signals) as processes:
        yield from processes.imap_unordered(_simulate, work)


def _leave_signals() -> None:
    """Ctrl-C is the first process's, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _simulate(work: tuple[str, int]) -> _Finished:
    name, datasets = work
    (scenario,) = (each for each in declared() if each.name == name)
    return name, simulate(scenario, datasets)


def _say(words: str, end: str = "\n") -> None:
    print(words, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

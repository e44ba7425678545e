"""`make coverage-study`, or `python -m tests.coverage_study`: finished scenarios are kept, and a run that was
broken off goes on. Exit code 1: a figure is not as expected.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path

from tests.coverage_study import closed_forms, models, pools
from tests.coverage_study.declarations import Scenario
from tests.coverage_study.results import RESULTS, failed, text
from tests.coverage_study.tallies import Tally, fingerprint, keep, kept, simulate

STATE = Path(__file__).parents[2] / ".coverage-study"
DATASETS, LEAST = 5_000, 2_000
"""By default, and for results that are written down."""


@cache
def declared() -> tuple[Scenario, ...]:
    return (*closed_forms.scenarios(), *pools.scenarios(), *models.scenarios())


def main() -> int:
    """1: a figure is not as expected; 130: broken off."""
    options = _options()
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
    mark = fingerprint(options.datasets)
    found = {each.name: tallies for each in scenarios if (tallies := kept(options.state, mark, each.name))}
    left = [each for each in scenarios if each.name not in found]
    _say(f"{len(found)} of {len(scenarios)} scenarios are done; state in {options.state}")
    began = time.monotonic()
    for scenario, tallies in _simulated(left, options):
        keep(options.state, mark, scenario.name, tallies)
        found[scenario.name] = tallies
        failures = failed(scenario, tallies)
        _say(f"{len(found)}/{len(scenarios)} {scenario.name}, {time.monotonic() - began:.0f} s")
        _say("".join(f"  FAILS: {each}\n" for each in failures), end="")
    return found


def _simulated(
    scenarios: Sequence[Scenario], options: argparse.Namespace
) -> Iterator[tuple[Scenario, dict[str, Tally]]]:
    """As they are finished. Other processes are told names: what a scenario asks cannot be sent."""
    if options.processes == 1:
        yield from ((each, simulate(each, options.datasets)) for each in scenarios)
        return
    by_name = {each.name: each for each in scenarios}
    with ProcessPoolExecutor(options.processes) as processes:
        waiting = {processes.submit(_simulate, name, options.datasets): name for name in by_name}
        try:
            for done in as_completed(waiting):
                yield by_name[waiting[done]], done.result()
        except BaseException:
            processes.shutdown(cancel_futures=True)
            raise


def _simulate(name: str, datasets: int) -> dict[str, Tally]:
    (scenario,) = (each for each in declared() if each.name == name)
    return simulate(scenario, datasets)


def _say(words: str, end: str = "\n") -> None:
    print(words, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

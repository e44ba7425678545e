"""`make soak`: long campaigns on stacks of their own. A run that is broken off goes on where it was."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.partners import Partner
from tests.soak import engagement, fuzz, kills, warehouse
from tests.soak.progress import Campaign, Progress, carry_on
from tests.soak.results import record
from tests.soak.running import CannotRun, running, stack_of

STATE = Path(os.environ.get("CIRCLES_SOAK", Path(__file__).parents[2] / ".soak")).resolve()  # noqa: TID251
CAMPAIGNS: dict[str, tuple[Callable[[Partner, Path, Progress], Campaign], Sequence[str]]] = {
    "fuzz": (fuzz.Fuzz, fuzz.WITHOUT),
    "kills": (kills.Kills, kills.WITHOUT),
    "engagement": (engagement.EngagementKills, engagement.WITHOUT),
    "warehouse": (warehouse.WarehouseKills, warehouse.WITHOUT),
}


def main() -> int:
    """1: something was found; 2: it could not run; 130: broken off."""
    options = _options()
    goals = dict.fromkeys(CAMPAIGNS, options.kills) | {"fuzz": options.minutes * 60}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: stacks are ended
    try:
        findings = [_run(name, goals[name], options.fresh) for name in options.campaign or CAMPAIGNS]
    except CannotRun as reason:
        print(reason, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Broken off. `make soak` goes on after the last step that was finished.", file=sys.stderr)
        return 130
    return 1 if any(findings) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument(
        "--campaign", action="append", choices=[*CAMPAIGNS], help="only this; may be repeated"
    )
    parser.add_argument("--minutes", type=int, default=10, help="of fuzzing, of a campaign that begins")
    parser.add_argument("--kills", type=int, default=30, help="of a campaign that begins")
    parser.add_argument("--fresh", action="store_true", help="forget what is done, and begin anew")
    return parser.parse_args()


def _run(name: str, goal: int, is_fresh: bool) -> list[str]:
    """Carries the campaign on to its end. Returns its findings."""
    folder, (campaign, without) = STATE / name, CAMPAIGNS[name]
    progress = Progress.load(folder, goal)
    if is_fresh:
        stack_of(folder, progress).down()  # a killed run may have left it
        shutil.rmtree(folder, ignore_errors=True)
        progress = Progress(goal)
    if progress.is_finished:
        _say(f"{name} is finished, with {len(progress.findings)} findings. --fresh begins anew.")
        return progress.findings
    _say(f"{name}: {progress.done} of {progress.goal} done, seed {progress.seed}; state in {folder}")
    with running(folder, progress, without) as partner:
        carry_on(folder, campaign(partner, folder, progress), lambda: _show(name, progress))
    record(name, progress)
    _say("\n".join([*(f"FOUND: {each}" for each in progress.findings), f"{name} is finished."]))
    return progress.findings


def _show(name: str, progress: Progress) -> None:
    counts = ", ".join(f"{each} {count:,}" for each, count in progress.counts.most_common(6))
    memory = f", {progress.memory[-1]} MiB" if progress.memory else ""
    _say(f"{name} {progress.done}/{progress.goal}: {counts}{memory}, {len(progress.findings)} findings")


def _say(words: str) -> None:
    print(words, flush=True)  # at once, also into a file


if __name__ == "__main__":
    sys.exit(main())

"""RESULTS.md: the last finished run of each campaign, a row each."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path

from tests.soak.progress import Progress

RESULTS = Path(__file__).with_name("RESULTS.md")
COLUMNS = "| campaign | finished | commit | duration | counts | memory, MiB | findings | verdict |"
ABOUT = "The last finished run of each campaign; what is a finding stands in the module of its name."
HEAD = ["# Results of `make soak`", "", ABOUT, "", COLUMNS, "|---" * 8 + "|"]


def record(name: str, progress: Progress) -> None:
    """Replaces the campaign's row; the other's stays."""
    known = RESULTS.read_text().splitlines()[len(HEAD) :] if RESULTS.exists() else []
    others = [row for row in known if not row.startswith(f"| {name} |")]
    RESULTS.write_text("\n".join([*HEAD, *sorted([*others, _row(name, progress)]), ""]))


def _row(name: str, progress: Progress) -> str:
    command = ["git", "describe", "--always", "--dirty= with changes"]
    commit = subprocess.run(command, cwd=RESULTS.parent, capture_output=True, text=True, check=True).stdout
    counts = ", ".join(f"{each} {count:,}" for each, count in progress.counts.most_common())
    memory = "–"
    if progress.memory:
        first, last, most = progress.memory[:6][-1], progress.memory[-1], max(progress.memory)
        memory = f"{first} after a minute, {last} at the end, {most} at most"
    findings = "; ".join(progress.findings).replace("|", "/").replace("\n", " ")
    cells = [
        name,
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        commit.strip(),
        f"{progress.seconds / 60:.1f} min",
        counts,
        memory,
        findings or "none",
        "FAILED" if findings else "passed",
    ]
    return f"| {' | '.join(cells)} |"

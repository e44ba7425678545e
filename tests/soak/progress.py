"""How far a campaign is, kept on disk after every step, and the loop that goes on from there."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

FILE = "progress.json"


@dataclass
class Progress:
    """What is kept of a campaign. Changes count when they are saved."""

    goal: int
    """Seconds, or kills; fixed when the campaign begins."""
    done: int = 0
    seed: int = field(default_factory=lambda: random.randrange(2**32))
    seconds: float = 0.0
    """Spent on steps and checks."""
    counts: Counter[str] = field(default_factory=Counter)
    memory: list[int] = field(default_factory=list)
    """MiB, the most in each step."""
    findings: list[str] = field(default_factory=list)
    is_finished: bool = False
    ports: dict[str, int] = field(default_factory=dict)
    tenant_id: str = ""
    key: str = ""

    @classmethod
    def load(cls, folder: Path, goal: int) -> Progress:
        """What was saved in `folder`; a campaign with that goal when there is nothing."""
        if not (folder / FILE).exists():
            return cls(goal)
        saved = json.loads((folder / FILE).read_text())
        return cls(**{**saved, "counts": Counter(saved["counts"])})

    def save(self, folder: Path) -> None:
        """All or nothing, also when we are killed meanwhile."""
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{FILE}.new"
        temporary.write_text(json.dumps(vars(self), indent=1))
        temporary.replace(folder / FILE)


class Campaign(Protocol):
    progress: Progress

    def step(self) -> None:
        """Raises `done`. A step that is broken off is done again."""

    def check(self) -> None:
        """What must hold after the last step."""


def carry_on(folder: Path, campaign: Campaign, show: Callable[[], object]) -> None:
    """Does what is left, and keeps each step."""
    progress = campaign.progress
    while not progress.is_finished:
        begun, is_last = time.monotonic(), progress.done >= progress.goal
        (campaign.check if is_last else campaign.step)()
        progress.is_finished = is_last
        progress.seconds += time.monotonic() - begun
        progress.save(folder)
        show()

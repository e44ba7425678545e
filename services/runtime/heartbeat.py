"""A service's sign of life: a small file that it rewrites every second or so.

Read by the supervisor's health gate, by `circles status`, and in containers by
`python -m services.runtime.heartbeat NAME`. A file rather than a port: nothing to secure, and it
works the same for a Faust worker and a loader.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from services.runtime.settings import home

FRESH_SECONDS = 15.0
"""An older heartbeat means that the process is stuck or gone."""


@dataclass(frozen=True)
class Heartbeat:
    """`state` is `starting`, `ready`, `waiting` (for Kafka or PostgreSQL) or `draining`."""

    service: str
    state: str
    at: float
    pid: int
    figures: dict[str, int]

    @property
    def is_ready(self) -> bool:
        return self.state == "ready" and time.time() - self.at < FRESH_SECONDS


def _path(service: str, folder: Path | None) -> Path:
    return (folder or home() / "run") / f"{service}.heartbeat"


def beat(service: str, state: str, figures: dict[str, int] | None = None) -> None:
    """Writes the heartbeat of this process; replaces the earlier one in one step."""
    path = _path(service, None)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    body = {"state": state, "at": time.time(), "pid": os.getpid(), "figures": figures or {}}
    temporary.write_text(json.dumps(body))
    temporary.replace(path)


def read(service: str, folder: Path | None = None) -> Heartbeat | None:
    """The newest heartbeat of `service`, or None when there is none that can be read."""
    try:
        body = json.loads(_path(service, folder).read_text())
        return Heartbeat(service, body["state"], body["at"], body["pid"], body["figures"])
    except (OSError, ValueError, KeyError):
        return None


def main() -> int:
    heartbeat = read(sys.argv[1])
    return 0 if heartbeat is not None and heartbeat.is_ready else 1


if __name__ == "__main__":
    sys.exit(main())

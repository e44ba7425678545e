"""A service's sign of life: a small file that it rewrites every second or so.

Read by the supervisor's health gate, by `circles status`, and in containers by
`python -m services.runtime.heartbeat NAME`. A file rather than a port: nothing to secure, and it
works the same for a Faust worker and a loader.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.runtime.settings import home

FRESH_SECONDS = 15.0
"""An older heartbeat means that the process is stuck or gone."""


@dataclass(frozen=True)
class Heartbeat:
    """`state` is `starting`, `ready`, `waiting` or `draining`; `alarms` say why it waits, and what to do."""

    service: str
    state: str
    at: float
    pid: int
    figures: dict[str, int]
    alarms: tuple[str, ...] = ()

    @property
    def is_ready(self) -> bool:
        return self.state == "ready" and self.is_fresh

    @property
    def is_at_work(self) -> bool:
        """Ready, or waiting with a part of its work only: whoever waits has no figures otherwise."""
        return self.is_ready or (self.state == "waiting" and bool(self.figures) and self.is_fresh)

    @property
    def is_fresh(self) -> bool:
        return time.time() - self.at < FRESH_SECONDS


def _path(service: str, folder: Path | None) -> Path:
    return (folder or home() / "run") / f"{service}.heartbeat"


def beat(service: str, state: str, figures: dict[str, int] | None = None, alarms: Sequence[str] = ()) -> None:
    """Writes the heartbeat of this process; replaces the earlier one in one step."""
    path = _path(service, None)
    temporary = path.with_suffix(f".{os.getpid()}")
    body = {
        "state": state,
        "at": time.time(),
        "pid": os.getpid(),
        "figures": figures or {},
        "alarms": list(alarms),
    }
    with _despite_a_full_disk():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(body))
        temporary.replace(path)


@contextlib.contextmanager
def _despite_a_full_disk() -> Iterator[None]:
    """Who waits for space must not end for want of it; the old heartbeat tells that it is silent."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def read(service: str, folder: Path | None = None) -> Heartbeat | None:
    """The newest heartbeat of `service`, or None when there is none that can be read."""
    try:
        body = json.loads(_path(service, folder).read_text())
        alarms = tuple(body.get("alarms", ()))
        return Heartbeat(service, body["state"], body["at"], body["pid"], body["figures"], alarms)
    except (OSError, ValueError, KeyError):
        return None


def main() -> int:
    heartbeat = read(sys.argv[1])
    return 0 if heartbeat is not None and heartbeat.is_ready else 1


if __name__ == "__main__":
    sys.exit(main())

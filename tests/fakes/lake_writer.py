"""Processes that end by SIGKILL: a writer in its transaction, a maintenance in one of its steps.

`python -m tests.fakes.lake_writer open-transaction` writes files, says so, and waits, its transaction open.
`python -m tests.fakes.lake_writer maintain STEP MILLISECONDS` kills itself so long after STEP began.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from pipelines.maintenance.maintenance import maintain
from services.runtime.lake import open_lake
from services.runtime.settings import LakeSettings, PostgresSettings, RetentionSettings


def _open_transaction() -> None:
    lake = open_lake()
    lake.begin()
    lake.execute("INSERT INTO raw.participation_events SELECT * FROM raw.participation_events")
    print("written", flush=True)
    time.sleep(600)


def _maintain(step: str, milliseconds: float) -> None:
    def begin(name: str) -> None:
        if name == step:
            threading.Timer(milliseconds / 1000, os.kill, (os.getpid(), signal.SIGKILL)).start()

    for _ in maintain(LakeSettings.load(), PostgresSettings.load(), RetentionSettings.load(), on_begin=begin):
        pass


if __name__ == "__main__":
    if sys.argv[1] == "maintain":
        _maintain(sys.argv[2], float(sys.argv[3]))
    else:
        _open_transaction()

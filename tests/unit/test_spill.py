"""What does not fit into memory stays in the data folder, and does not outlive its process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb

from services.runtime.lake import spill_folder


def test_what_a_killed_process_left_is_deleted_and_what_others_need_is_kept(home: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, kept = home / "spill" / f"{ended.pid}-0a", home / "spill" / f"{os.getpid()}-0b"
    for folder in (left, kept, home / "spill" / "dbt"):
        folder.mkdir(parents=True)
        (folder / "rows").touch()
    spill_folder()
    assert sorted(each.name for each in (home / "spill").iterdir()) == sorted([kept.name, "dbt"])


def test_duckdb_makes_the_folder_and_deletes_it(home: Path) -> None:
    folder = spill_folder()
    with duckdb.connect(config={"temp_directory": str(folder), "memory_limit": "50MB"}) as connection:
        connection.execute("CREATE TABLE much AS SELECT hash(range) AS h, range FROM range(5000000)")
        connection.execute("SELECT count(*) FROM (SELECT * FROM much ORDER BY h)").fetchall()
        assert folder.exists()
    assert not folder.exists()

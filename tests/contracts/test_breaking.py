"""What would break a partner of the last release is noticed, and what does not, is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTOS = Path(__file__).parents[2] / "protos"
EVENT = "circles/participation/v1/participation_event.proto"


@pytest.mark.parametrize(
    ("old", "new", "is_breaking"),
    [
        ("ThreadRead thread_read = 18", "ThreadRead thread_read = 19", True),
        ("ATTENDANCE_ROLE_MEMBER = 1", "ATTENDANCE_ROLE_MEMBER = 7", True),
        ("uint32 minutes = 2 ", "string minutes = 2 ", True),
        ("message MemberJoined {}", "message MemberJoined {\n  bool is_first = 1;\n}", False),
        (
            "LEAVE_REASON_GROUP_CLOSED = 4;",
            "LEAVE_REASON_GROUP_CLOSED = 4;\n  LEAVE_REASON_OTHER = 5;",
            False,
        ),
    ],
)
def test_buf_tells_a_breaking_change_from_an_addition(
    tmp_path: Path, old: str, new: str, is_breaking: bool
) -> None:
    copy = tmp_path / "protos"
    shutil.copytree(PROTOS, copy, ignore=shutil.ignore_patterns("gen"))
    text = (copy / EVENT).read_text()
    assert old in text
    (copy / EVENT).write_text(text.replace(old, new))
    buf = Path(sys.executable).with_name("buf")
    command = [str(buf), "breaking", str(copy), "--against", str(PROTOS / "released.binpb")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode != 0) is is_breaking, found.stdout + found.stderr

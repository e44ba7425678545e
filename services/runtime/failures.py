"""How a stage tells of a record that it cannot use: the `FailedEvent` that names position and reason.

Where the message is sent is the stage's business.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from circles.failures.v1.failed_event_pb2 import FailedEvent, FailureReason, FailureStage
from cryptography.fernet import Fernet


def foreign_record(
    *,
    stage: FailureStage.ValueType,
    reason: FailureReason.ValueType,
    detail: str,
    position: tuple[str, str, int, int],
    value: bytes | None,
    quarantine_key: Path,
) -> FailedEvent:
    """A record that somebody else wrote. `position` is (topic, topic id, partition, offset).

    Its bytes may hold anything, so they are kept only under the operator's key.
    """
    content = value or b""
    failed = FailedEvent(
        stage=stage,
        reason=reason,
        detail=detail,
        topic=position[0],
        topic_id=position[1],
        kafka_partition=position[2],
        kafka_offset=position[3],
        record_sha256=hashlib.sha256(content).digest(),
        record_size_bytes=len(content),
        quarantined_bytes=_cipher(quarantine_key).encrypt(content),
    )
    failed.failed_at.GetCurrentTime()
    return failed


@cache
def _cipher(key_file: Path) -> Fernet:
    return Fernet(key_file.read_bytes().strip())

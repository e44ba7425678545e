"""Who has withdrawn: statements of consent from the topic `consents`, resolved. Pure.

A person whose newest statement of any scope is a withdrawal has no part in live figures. What everybody said
is kept, 40 bytes each, because an older statement may come after a newer one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import xxhash
from circles.outcomes.v1.consent_statement_pb2 import ConsentStatement
from circles.outcomes.v1.outcome_event_envelope_pb2 import OutcomeEventEnvelope
from google.protobuf.message import DecodeError

from services.engagement.reading import pseudonym_number

KINDS = ("consent_given", "consent_withdrawn", "event_retracted")
GIVEN, WITHDRAWN, RETRACTED = range(3)

_STATEMENT = np.dtype(
    [("tenant", "<u8"), ("person", "<u8"), ("event", "<u8"), ("at", "<i8"), ("scope", "<i4"), ("said", "<i4")]
)


class Consents:
    """What all people said."""

    def __init__(self) -> None:
        self.withdrawn: dict[str, set[int]] = defaultdict(set)
        """People whose events do not count, by tenant: as they stand in rows."""
        self.ever_withdrawn: dict[str, set[int]] = defaultdict(set)
        self._rows = np.zeros(1024, _STATEMENT)
        self._count = 0

    def take(self, values: Iterable[bytes | None]) -> dict[str, set[int]]:
        """Takes in statements: the people, by tenant, whose events count now and did not, or the reverse."""
        concerned: dict[str, set[int]] = defaultdict(set)
        for value in values:
            said = _read(value)
            if said is None:
                continue
            tenant, row = said
            self._append(row)
            person = int(row["person"])
            if row["said"] == WITHDRAWN:
                self.ever_withdrawn[tenant].add(person)
            if person in self.ever_withdrawn[tenant]:
                concerned[tenant].add(person)
        return {
            tenant: found for tenant, people in concerned.items() if (found := self._resolve(tenant, people))
        }

    def _append(self, row: np.void) -> None:
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros(len(self._rows), _STATEMENT)])
        self._rows[self._count] = row
        self._count += 1

    def _resolve(self, tenant: str, people: set[int]) -> set[int]:
        """Of these people, those for whom the answer is another than before."""
        rows = self._rows[: self._count]
        wanted = np.isin(rows["person"], np.fromiter(people, np.uint64, len(people)))
        by_person: dict[int, list[np.void]] = defaultdict(list)
        for row in rows[wanted & (rows["tenant"] == _hash(tenant))]:
            by_person[int(row["person"])].append(row)
        now = {person for person, said in by_person.items() if _has_withdrawn(said)}
        changed = (self.withdrawn[tenant] & people) ^ now
        self.withdrawn[tenant] ^= changed
        return changed


def _has_withdrawn(said: list[np.void]) -> bool:
    retracted = {row["event"] for row in said if row["said"] == RETRACTED}
    newest: dict[int, tuple[int, int]] = {}
    for row in said:
        if row["said"] != RETRACTED and row["event"] not in retracted:
            # Of a yes and a no at one time the no counts, which is the greater number.
            each = int(row["at"]), int(row["said"])
            newest[row["scope"]] = max(each, newest.get(row["scope"], each))
    return any(kind == WITHDRAWN for _, kind in newest.values())


def _read(value: bytes | None) -> tuple[str, Any] | None:
    """None for what nobody of us wrote."""
    try:
        said = ConsentStatement.FromString(value or b"")
        person = pseudonym_number(said.participant_id)
    except (DecodeError, ValueError):
        return None
    at = said.occurred_at.seconds
    kind = RETRACTED if said.is_retracted else GIVEN if said.is_given else WITHDRAWN
    row = np.array((_hash(said.tenant_id), person, _hash(said.event_id), at, said.scope, kind), _STATEMENT)
    return said.tenant_id, row[()]


def _hash(text: str) -> int:
    return xxhash.xxh64_intdigest(text.encode())


def statements(
    records: Iterable[tuple[bytes | None, bytes | None, int]], partition: int
) -> Iterator[tuple[bytes, bytes]]:
    """Records for `consents` of what some records of `outcome-events` say of consents.

    Also every retraction, because nobody knows yet what it takes back. What cannot be read says nothing
    here: landing sets it aside.
    """
    for key, value, offset in records:
        try:
            envelope = OutcomeEventEnvelope.FromString(value or b"")
        except DecodeError:
            continue
        if envelope.tenant_id.encode() != key:
            continue
        for accepted in envelope.events:
            kind = accepted.event.WhichOneof("kind")
            if kind in KINDS:
                yield _statement(envelope.tenant_id, accepted.event, kind, partition, offset)


def _statement(tenant_id: str, event: Any, kind: str, partition: int, offset: int) -> tuple[bytes, bytes]:
    is_retracted = kind == "event_retracted"
    said = ConsentStatement(
        tenant_id=tenant_id,
        participant_id=event.participant_ref,
        event_id=event.event_retracted.retracted_event_id if is_retracted else event.event_id,
        occurred_at=event.occurred_at,
        is_given=kind == "consent_given",
        is_retracted=is_retracted,
        kafka_partition=partition,
        kafka_offset=offset,
    )
    if not is_retracted:
        said.scope = getattr(event, kind).scope
    key = "\0".join((tenant_id, said.participant_id, said.event_id, "retracted" if is_retracted else ""))
    return key.encode(), said.SerializeToString()

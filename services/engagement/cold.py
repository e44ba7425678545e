"""Groups that have been idle: out of memory, in a file of this process alone.

The file is a place to lay things down, not a copy of the state. It has no name once it is open: nobody can
spoil it, and it is gone with the process, however that ends. What the disk does to it ends the process, whose
next start makes everything again from the state topic.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from services.engagement.groups import Group, GroupKey, Withdrawn
from services.engagement.layout import EVENT, PERSON
from services.engagement.state import Written


class SpoiltColdGroups(Exception):
    """What lies in the file is not what was put there, or cannot be read or written."""


class ColdGroups:
    """Idle groups of one partition. Raises SpoiltColdGroups from all its methods but `close`."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(file, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE idle (tenant TEXT, name TEXT, header TEXT, events BLOB, people BLOB, crc INTEGER, "
            "PRIMARY KEY (tenant, name)) WITHOUT ROWID",
            "CREATE TABLE seen (tenant TEXT, person INTEGER, name TEXT, PRIMARY KEY (tenant, person, name)) "
            "WITHOUT ROWID",
        ):
            self._database.execute(statement)
        file.unlink()
        self.count = 0

    def put(self, group: Group, written: Written) -> None:
        """Lays a group down of which nothing waits to be written."""
        header = json.dumps(
            {
                "data_class": group.data_class,
                "as_of": group.as_of,
                "restored_offset": group.restored_offset,
                "retracted": list(group.retracted.items()),
                "dirty_people": list(group.dirty_people),
                "parts": written.parts,
                "others": {kind: list(names) for kind, names in written.others.items()},
                "number": written.number,
            }
        )
        events, people = group.log.tobytes(), group.people.tobytes()
        tenant, name = group.key
        self._ask(
            "INSERT INTO idle VALUES (?, ?, ?, ?, ?, ?)",
            (tenant, name, header, events, people, _crc(header, events, people)),
        )
        self._database.executemany("INSERT INTO seen VALUES (?, ?, ?)", _seen(group))
        self.count += 1

    def take(self, key: GroupKey, withdrawn: Withdrawn) -> tuple[Group, Written] | None:
        """Takes a group up again, as it is with the consents of now."""
        if self.count == 0:
            return None
        found = self._ask("SELECT header, events, people, crc FROM idle WHERE tenant = ? AND name = ?", key)
        if not found:
            return None
        header, events, people, crc = found[0]
        if _crc(header, events, people) != crc:
            raise SpoiltColdGroups(f"a group of {key.tenant_id}")
        self._ask("DELETE FROM idle WHERE tenant = ? AND name = ?", key)
        self.count -= 1
        group, written = _group(key, json.loads(header), events, people, withdrawn)
        self._database.executemany(
            "DELETE FROM seen WHERE tenant = ? AND person = ? AND name = ?", _seen(group)
        )
        return group, written

    def groups_of(self, tenant_id: str, persons: Withdrawn) -> Iterator[GroupKey]:
        """Idle groups in which one of them did something."""
        if self.count == 0:
            return
        for person in np.fromiter(persons, np.uint64, len(persons)).astype(np.int64).tolist():
            names = self._ask("SELECT name FROM seen WHERE tenant = ? AND person = ?", (tenant_id, person))
            yield from (GroupKey(tenant_id, name) for (name,) in names)

    def close(self) -> None:
        self._database.close()

    def _ask(self, statement: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise SpoiltColdGroups(str(error)) from error


def _seen(group: Group) -> Iterator[tuple[str, int, str]]:
    persons = np.unique(np.concatenate([group.log["person"], group.people["person"]]))
    return ((group.key.tenant_id, person, group.key.group_id) for person in persons.astype(np.int64).tolist())


def _group(
    key: GroupKey, header: dict[str, Any], events: bytes, people: bytes, withdrawn: Withdrawn
) -> tuple[Group, Written]:
    rows = np.frombuffer(events, EVENT).copy()
    group = Group(
        key,
        header["data_class"],
        as_of=header["as_of"],
        restored_offset=header["restored_offset"],
        events=rows,
        count=len(rows),
        people=np.frombuffer(people, PERSON).copy(),
        retracted=dict(header["retracted"]),
        dirty_people=set(header["dirty_people"]),
    )
    group.hide(withdrawn)
    written = Written(parts=header["parts"], number=header["number"])
    written.expires_at = min(written.parts.values(), default=written.expires_at)
    written.others.update({kind: set(names) for kind, names in header["others"].items()})
    return group, written


def _crc(header: str, *contents: bytes) -> int:
    crc = zlib.crc32(header.encode())
    for content in contents:
        crc = zlib.crc32(content, crc)
    return crc

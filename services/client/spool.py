"""A bounded queue of records on disk that survives kill -9 and a power cut. POSIX only.

A record's place is its byte offset since the spool began. Segment files are named by the place at which
they begin and are only ever appended to; the file `acknowledged` has the place up to which everything is
done, and segments before it are removed. A record is its length and CRC-32, then its bytes. What a record
means is not known here: that is `spooled`'s.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from services.client.errors import ClientClosed, SpoolDamaged, SpoolFull, SpoolInUse

MAX_SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENTS = 8
"""A spool has about as many segments when it is full; disk is given back by whole ones."""

_HEAD = struct.Struct("<II")
_SUFFIX = ".records"


class Spool:
    """Keeps records in order until they are acknowledged. Any thread may put; one reads and acknowledges.

    Folder and files are readable by their owner only: they have events with your references in the clear.
    """

    def __init__(self, path: str | Path, *, max_bytes: int) -> None:
        """Opens the spool in folder `path`, or makes one. `max_bytes`: what its files may take on disk.

        Raises SpoolInUse when another process has it, SpoolDamaged when files are missing or changed.
        """
        self.folder = Path(path)
        self._max_bytes = max_bytes
        self._segment_bytes = min(MAX_SEGMENT_BYTES, max_bytes // SEGMENTS + 1)
        self._mutex = threading.Lock()
        self._process = os.getpid()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._lock = _locked(self.folder / "lock")
        self._is_open = True
        try:
            self._segments = _segments(self.folder)
            self._acknowledged = self._read_acknowledged()
            self._recover()
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def acknowledged(self) -> int:
        """The place of the first record that is still to be done."""
        return self._acknowledged

    @property
    def end(self) -> int:
        """The place of the next record to be put."""
        return self._segments[-1].end

    @property
    def refused_path(self) -> Path:
        return self.folder / "refused.jsonl"

    def put(self, records: Iterable[bytes]) -> None:
        """Stores all records, or none; returns when the disk has them, after waiting for it once.

        Raises SpoolFull, and OSError when the disk does not take them.
        """
        data = b"".join(map(_framed, records))
        with self._in_use():
            self._refuse_too_much(len(data))
            if self._segments[-1].size >= self._segment_bytes:
                self._begin_segment(self.end)
            self._segments[-1].append(data)

    def read(self, max_records: int, max_bytes: int) -> tuple[list[bytes], int]:
        """The first records that are still to be done, and the place behind them.

        As many as are there, at most `max_records`, and no further one after `max_bytes`.
        Raises SpoolDamaged when a record is not as it was written.
        """
        records: list[bytes] = []
        place = self._acknowledged
        for segment in list(self._segments):
            for record in segment.records(place):
                records.append(record)
                place += _HEAD.size + len(record)
                max_bytes -= len(record)
                if len(records) == max_records or max_bytes <= 0:
                    return records, place
        return records, place

    def acknowledge(self, place: int) -> None:
        """Everything before `place`, as `read` returned it, is done. Returns when the disk knows."""
        with self._in_use():
            _replace(self.folder / "acknowledged", str(place).encode())
            self._acknowledged = place
            self._remove_done()

    def note_refused(self, lines: Iterable[str]) -> None:
        """Adds lines to `refused.jsonl`. It counts as part of the spool: move it away once it is read."""
        text = "".join(f"{line}\n" for line in lines)
        if text:
            with self._in_use():
                _append_lines(self.refused_path, text)

    def close(self) -> None:
        """Lets another process have the spool. May be repeated."""
        with self._mutex:
            if self._is_open:
                self._is_open = False
                os.close(self._lock)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._mutex:
            if not self._is_open:
                raise ClientClosed(f"The spool {self.folder} is closed")
            if os.getpid() != self._process:  # a lock is inherited, and would keep nobody out
                raise SpoolInUse(f"The spool {self.folder} was opened before this process was forked off")
            yield

    def _refuse_too_much(self, count_bytes: int) -> None:
        refused = self.refused_path.stat().st_size if self.refused_path.exists() else 0
        used = sum(segment.size for segment in self._segments) + refused
        if used + count_bytes > self._max_bytes:
            raise SpoolFull(
                f"The spool {self.folder} has {used} of at most {self._max_bytes} bytes ({refused} of them "
                f"in {self.refused_path.name}), and {count_bytes} more do not fit: none of these events was "
                "stored. Flush it, or give it a larger max_bytes"
            )

    def _read_acknowledged(self) -> int:
        path = self.folder / "acknowledged"
        if not path.exists():
            return self._segments[0].begin if self._segments else 0
        text = path.read_bytes()
        if not text.isdigit():
            raise SpoolDamaged(f"{path} is not a number. Without the file all that is left is posted again")
        return int(text)

    def _recover(self) -> None:
        """After a crash: cuts off what was not wholly written, removes what was done."""
        if self._segments:
            self._segments[-1].cut_torn_tail()
            if self._segments[0].begin > self._acknowledged:
                raise SpoolDamaged(f"{self.folder}: no segment has place {self._acknowledged}")
        self._remove_done()
        begins = [segment.begin for segment in self._segments]
        if begins[1:] != [segment.end for segment in self._segments[:-1]]:
            raise SpoolDamaged(f"{self.folder}: a segment is missing or cut; segments begin at {begins}")

    def _remove_done(self) -> None:
        done = self._acknowledged
        last = self._segments[-1] if self._segments else None
        if last is None or (last.end <= done and last.begin != done):
            self._begin_segment(done)
        while len(self._segments) > 1 and self._segments[0].end <= done:
            self._segments.pop(0).path.unlink()

    def _begin_segment(self, place: int) -> None:
        path = self.folder / f"{place:020d}{_SUFFIX}"
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
        _sync_folder(self.folder)
        self._segments.append(_Segment(path, place, 0))


@dataclass
class _Segment:
    path: Path
    begin: int
    size: int

    @property
    def end(self) -> int:
        return self.begin + self.size

    def append(self, data: bytes) -> None:
        """Returns when the disk has it. After an error the segment is as before."""
        with _opened(self.path, os.O_WRONLY) as descriptor:
            try:
                written = 0
                while written < len(data):
                    written += os.pwrite(descriptor, memoryview(data)[written:], self.size + written)
                os.fsync(descriptor)
            except BaseException:
                with suppress(OSError):  # what stays behind is overwritten by the next one, or cut off
                    os.ftruncate(descriptor, self.size)
                raise
        self.size += len(data)

    def records(self, place: int) -> Iterator[bytes]:
        """From `place` on, which may lie before this segment or behind it."""
        offset = max(0, place - self.begin)
        size = self.size
        if offset >= size:
            return
        with self.path.open("rb") as file:
            file.seek(offset)
            for record in _whole_records(file, size):
                offset += _HEAD.size + len(record)
                yield record
        if offset != size:
            raise SpoolDamaged(f"{self.path}: the record at byte {offset} is not as it was written")

    def cut_torn_tail(self) -> None:
        """A record whose `put` never returned may be there in part: all before it is whole."""
        with self.path.open("rb") as file:
            whole = sum(_HEAD.size + len(record) for record in _whole_records(file, self.size))
        if whole != self.size:
            with _opened(self.path, os.O_WRONLY) as descriptor:
                os.ftruncate(descriptor, whole)
                os.fsync(descriptor)
            self.size = whole


def _framed(record: bytes) -> bytes:
    return _HEAD.pack(len(record), _checksum(record)) + record


def _checksum(record: bytes) -> int:
    """Over the length as well, so that a tail of zeros is not an empty record."""
    return zlib.crc32(record, zlib.crc32(len(record).to_bytes(4, "little")))


def _whole_records(file: BinaryIO, end: int) -> Iterator[bytes]:
    """Records up to `end` or the first that is not whole."""
    while file.tell() + _HEAD.size <= end:
        length, checksum = _HEAD.unpack(file.read(_HEAD.size))
        if file.tell() + length > end:
            return
        record = file.read(length)
        if _checksum(record) != checksum:
            return
        yield record


def _segments(folder: Path) -> list[_Segment]:
    paths = sorted(folder.glob(f"*{_SUFFIX}"))
    return [_Segment(path, int(path.stem), path.stat().st_size) for path in paths]


def _locked(path: Path) -> int:
    """An open file with the lock, which ends with the process however it ends."""
    import fcntl  # here, so that the rest of the SDK works where there is none

    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SpoolInUse(
            f"{path.parent} is in use: a spool belongs to one client of one process; give each its own folder"
        ) from None
    return descriptor


def _replace(path: Path, data: bytes) -> None:
    """The old file or the new one, never a part."""
    new = path.with_suffix(".new")
    with _opened(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY) as descriptor:
        os.write(descriptor, data)
        os.fsync(descriptor)
    new.replace(path)
    _sync_folder(path.parent)


def _append_lines(path: Path, text: str) -> None:
    with _opened(path, os.O_CREAT | os.O_RDWR) as descriptor, open(descriptor, "r+b", closefd=False) as file:
        if file.seek(0, os.SEEK_END) and _last_byte(file) != b"\n":
            text = f"\n{text}"  # a crash cut the line before
        file.write(text.encode())
        file.flush()
        os.fsync(descriptor)
    _sync_folder(path.parent)


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)


def _sync_folder(folder: Path) -> None:
    """A new name is on disk only with its folder."""
    with _opened(folder, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

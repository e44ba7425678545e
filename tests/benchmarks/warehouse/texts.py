"""Columns of names and identities, made of numbers by the million. What they name is `worlds`'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Numbers = npt.NDArray[np.uint64]

_HEX = np.array([list(f"{byte:02x}".encode()) for byte in range(256)], np.uint8)
_DASHES = (8, 12, 16, 20)
_VERSION, _VARIANT = 12, 16
"""Places of the digits of a UUID that say which kind of UUID it is."""


def pseudonyms(prefix: str, numbers: npt.ArrayLike) -> pa.Array:
    """As the gateway makes them: one for each number, the same for the same prefix and number."""
    digits = _digits(prefix, np.asarray(numbers, np.uint64))
    head = np.broadcast_to(np.frombuffer(f"{prefix}_".encode(), np.uint8), (len(digits), len(prefix) + 1))
    return _strings(np.concatenate([head, digits], axis=1))


def uuids(prefix: str, numbers: npt.ArrayLike) -> pa.Array:
    digits = _digits(prefix, np.asarray(numbers, np.uint64))
    digits[:, _VERSION], digits[:, _VARIANT] = ord("4"), ord("8")
    return _strings(np.insert(digits, _DASHES, ord("-"), axis=1))


def codes(names: Sequence[str], places: npt.NDArray[np.int64]) -> pa.Array:
    """The name at each place."""
    return pa.array(names, pa.string()).take(pa.array(places))


def where(is_there: npt.NDArray[np.bool_], values: pa.Array) -> pa.Array:
    """`values`, one for each place that is true, NULL at all others."""
    return values.take(pa.array(np.cumsum(is_there) - 1, pa.int64(), mask=~is_there))


def _digits(prefix: str, numbers: Numbers) -> npt.NDArray[np.uint8]:
    salt = np.uint64(int.from_bytes(prefix.encode(), "big"))
    halves = np.stack([_mixed(numbers ^ salt), _mixed(~numbers ^ salt)], axis=1)
    return _HEX[halves.astype(">u8").view(np.uint8)].reshape(len(numbers), 32)


def _mixed(numbers: Numbers) -> Numbers:
    """SplitMix64: distinct numbers stay distinct, and look like the output of a keyed hash."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _strings(letters: npt.NDArray[np.uint8]) -> pa.Array:
    count, length = letters.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(length)
    data = np.ascontiguousarray(letters)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data))

"""Tables as rows of text by column: CSV with whatever separates its cells, and Parquet. A row at a time.

What the columns mean is for the readers of a kind of file to say.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.importing.rows import Row, Unreadable

MISSING = frozenset({"", "NA"})
"""Words for no value. NaN is none of them: it is a number that went wrong."""

DELIMITERS = ",;\t|"
HEADER_CHARACTERS = 1_000_000
"""Of a file without line breaks not all is read to find out what separates its cells."""

_PARQUET = b"PAR1"


@dataclass(frozen=True)
class Table:
    columns: Sequence[str]
    rows: Iterator[Row]
    """A row of another length than the header is `wrong` and has no cells."""


def read_table(path: Path, *, missing: Collection[str] = MISSING, revision: int = 1) -> Table:
    """Raises Unreadable, also later while rows are read: they are not kept."""
    with path.open("rb") as file:
        is_parquet = file.read(4) == _PARQUET
    lines = _parquet(path) if is_parquet else _csv(path)
    _, header = next(lines, ("", []))
    columns = [name.strip() for name in header]
    _check(path, columns)
    return Table(columns, _rows(columns, lines, frozenset(missing) | {""}, revision))


def _check(path: Path, columns: Sequence[str]) -> None:
    if not any(columns):
        raise Unreadable(f"{path.name} has no header line with the names of its columns.")
    # The one without a name has R's row numbers.
    twice = sorted(name for name, count in Counter(columns).items() if count > 1)
    if twice:
        raise Unreadable(f"{path.name} has two columns named {', '.join(map(repr, twice))}: which counts?")


def _rows(
    columns: Sequence[str],
    lines: Iterator[tuple[str, list[str]]],
    missing: Collection[str],
    revision: int,
) -> Iterator[Row]:
    for place, cells in lines:
        row = Row(place, revision=revision)
        texts = [text.strip() for text in cells]
        if len(texts) == len(columns):
            row.cells = {
                name: "" if text in missing else text for name, text in zip(columns, texts, strict=True)
            }
        else:
            row.refuse("", f"{len(texts)} cells", f"as many cells as columns: {len(columns)}")
        yield row


def _csv(path: Path) -> Generator[tuple[str, list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = _delimiter(file.readline(HEADER_CHARACTERS))
            file.seek(0)
            # Strict: else a quotation mark that is never closed takes the rest of the file into one cell.
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            first = 1
            try:
                for cells in reader:
                    if any(cells):
                        yield f"line {first}", cells
                    first = reader.line_num + 1  # a cell may hold several lines
            except csv.Error as error:
                raise Unreadable(f"{path.name}, line {first}: not CSV: {error}.") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path.name} is not UTF-8 ({error.reason}): save it as CSV UTF-8.") from error


def _delimiter(header: str) -> str:
    """What separates the names of the columns most often, outside of quotation marks."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(DELIMITERS, key=bare.count)


def _parquet(path: Path) -> Generator[tuple[str, list[str]]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            yield "schema", list(file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield f"row {number}", [_text(value) for value in values]
    except (ArrowException, OSError) as error:
        raise Unreadable(f"{path.name} is not a Parquet file that can be read: {error}.") from error


def _text(value: Any) -> str:
    return "" if value is None else str(value)

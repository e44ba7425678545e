"""A Markdown table that can also be read as it is: what the benchmarks print. What is in it is theirs."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(
    headings: Sequence[str], cells: Sequence[Sequence[str]], text_columns: Collection[str]
) -> list[str]:
    """Its lines. Columns with text begin at the left, numbers end at the right."""
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]

    def line(values: Sequence[str]) -> str:
        padded = (
            value.ljust(width) if heading in text_columns else value.rjust(width)
            for value, width, heading in zip(values, widths, headings, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if heading in text_columns else "-" * (width - 1) + ":"
        for width, heading in zip(widths, headings, strict=True)
    ]
    return [line(headings), line(rule), *map(line, cells)]

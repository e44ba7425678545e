"""The dbt project's macros outside of dbt: the same SQL over other relations than a model's.

For DuckDB only. A macro that asks dbt for more than a form for the engine (`ref`, `source`, `this`) is not
for here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template

MACROS = Path(__file__).parents[2] / "dbt" / "macros"


class _Adapter:
    """What dbt calls `adapter`, as far as macros of ours use it."""

    def __init__(self, module: Callable[[], Any]) -> None:
        self._module = module

    def dispatch(self, name: str) -> Any:
        return getattr(self._module(), f"duckdb__{name}")


def sql_of(macro: str, *arguments: str) -> str:
    """The SQL that a macro makes for DuckDB. `arguments` are SQL as well: names of relations, or subqueries
    in parentheses."""
    return str(getattr(_template().module, macro)(*arguments))


@cache
def _template() -> Template:
    """All macros as one template, so that they see one another as they do in dbt."""
    environment = Environment(autoescape=False, extensions=["jinja2.ext.do"])  # noqa: S701  # SQL, not HTML
    environment.globals["adapter"] = _Adapter(lambda: _template().module)
    environment.globals["return"] = lambda value: value
    return environment.from_string("\n".join(path.read_text() for path in sorted(MACROS.glob("*.sql"))))

"""A dbt model's own SQL on tables of any DuckDB, without dbt: for tests that draw much data.

As in a build of everything: nothing is an update. `ref` is the name itself, so the tables that a model reads
have to be there under their names.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, Template

DBT = Path(__file__).parents[2] / "dbt"

MACROS = ("instruments", "items", "regressions", "text_features", "times")
"""Files of macros that are made of SQL alone."""

IN_PYTHON = "text_studies"
"""A macro that answers with something else than SQL, which Jinja alone cannot."""


def sql_of_model(name: str, text_studies: list[dict[str, Any]]) -> str:
    """`text_studies`: as `pipelines.defs.transformation.project` hands them to dbt."""
    return _template(name).render(
        adapter=_Adapter,
        ref=lambda table: table,
        config=lambda **_: "",
        is_update=lambda: False,
        of_touched_groups=lambda everything: everything,
        text_studies=lambda: text_studies,
    )


class _Adapter:
    """What dbt calls `adapter`."""

    @staticmethod
    def dispatch(name: str) -> Any:
        return getattr(_template(None).module, f"duckdb__{name}")


@cache
def _template(model: str | None) -> Template:
    """Macros, and the model below them. Macros see one another, and what is given to the model."""
    text = "\n".join((DBT / "macros" / f"{each}.sql").read_text() for each in MACROS)
    text = re.sub(rf"{{% macro {IN_PYTHON}\(.*?{{%-? endmacro %}}", "", text, flags=re.DOTALL)
    if model is not None:
        (path,) = (DBT / "models").rglob(f"{model}.sql")
        text += path.read_text()
    environment = Environment(autoescape=False, extensions=["jinja2.ext.do"])  # noqa: S701  # SQL, not HTML
    environment.globals["return"] = lambda value: value
    return environment.from_string(text)

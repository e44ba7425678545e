"""Readable names as codes of the contract: `Beck Depression Inventory-II` is `beck-depression-inventory-ii`.

Whether a code is right is the contract's rule to say (circles/rules/v1/rules.proto).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from services.ingestion.rules import text_rule

RULE = text_rule("code")


def code_of(name: str) -> str:
    """Small letters and digits, what was between them as one hyphen. ValueError where that is no code.

    Accents are dropped, `&` is read as `and`; `.` and `_` stay between letters and digits. Nothing is cut
    off: a long name needs a code from the user, not half a name from us.
    """
    plain = unicodedata.normalize("NFKD", name.replace("&", " and ").casefold())
    kept = "".join(each for each in plain if not unicodedata.combining(each))
    code = re.sub(r"[^a-z0-9._]+", "-", kept)
    code = re.sub(r"[-._]*-[-._]*", "-", code).strip("-._")
    if not RULE.holds(code):
        raise ValueError(f"a name that makes {RULE.words}; --code 'NAME=code' gives it one")
    return code


class Codes:
    """The codes of one file. Each has one name only, case and blanks apart.

    `given`: codes by name, where the user wants others.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = {_folded(name): code for name, code in given.items()}
        self._names: dict[tuple[str, str], str] = {}

    def code(self, vocabulary: str, name: str) -> str:
        """Of a name in a vocabulary, as the names of arms. ValueError also where another name has it."""
        code = self._given.get(_folded(name)) or code_of(name)
        first = self._names.setdefault((vocabulary, code), name)
        if _folded(first) != _folded(name) and _folded(name) not in self._given:
            raise ValueError(f"another name than {first!r}, which has the code {code}: --code 'NAME=code'")
        return code


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())

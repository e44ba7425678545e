"""What the end-to-end tests share: data of the demo and of difficult partners, built by Dagster itself."""

from __future__ import annotations

import pytest

from tests.difficult_partners import Partners, post_all
from tests.stacks import Stack


@pytest.fixture(scope="session")
def built(stack: Stack) -> Partners:
    return post_all(stack)

"""Dagster's page in a real browser, as operators use it: graph, a check that failed, a backfill, a replay.

What the page is told is tested elsewhere; here somebody reads and clicks.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.difficult_partners import Partners
from tests.stacks import Stack
from tests.tools import require

pytestmark = [pytest.mark.stack, pytest.mark.dagster, pytest.mark.timeout(900)]

PATIENCE_MS = 180_000
"""For what a run has to bring about; what is on a page is there at once."""


@pytest.fixture(scope="module")
def page(built: Partners, stack: Stack) -> Iterator[Page]:
    chromium = require("chromium", "a browser to look at Dagster's page")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        opened = browser.new_page(
            base_url=f"http://127.0.0.1:{stack.ports['dagster']}", viewport={"width": 1500, "height": 1000}
        )
        opened.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield opened
        browser.close()


def test_the_graph_goes_from_services_to_the_release(page: Page) -> None:
    page.goto("/asset-groups")
    groups = [
        "streaming",
        "landing",
        "admission",
        "staging",
        "intermediate",
        "marts",
        "evidence",
        "publication",
    ]
    for group in groups:
        expect(page.get_by_text(group, exact=True).first).to_be_visible()
    page.goto("/assets/evidence/group_engagement?view=lineage")
    for name in ("marts", "group_engagement", "release"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()


def test_a_failing_check_names_the_partner_and_shows_no_person(page: Page, built: Partners) -> None:
    check = "session_attended__minutes_is_in_range"
    page.goto(f"/assets/admission/participation_events?view=checks&checkDetail={check}")
    expect(page.get_by_text("Failed", exact=True).first).to_be_visible()
    page.get_by_text("[Show JSON]").first.click()
    expect(page.get_by_text(built.foreign).first).to_be_visible()
    assert "person-" not in page.inner_text("body")


def test_days_are_computed_again_by_a_backfill(page: Page) -> None:
    first, last = (f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}" for days in (2, 1))
    page.goto("/assets/marts/fct_participation?view=partitions")
    days = page.get_by_placeholder("ex: ")
    days.fill(f"[{first}...{last}]")
    days.press("Enter")
    expect(page.get_by_text("2 Partitions Selected")).to_be_visible()
    page.get_by_role("button", name="Materialize").first.click()
    expect(page.get_by_text("2 partitions", exact=True)).to_be_visible()
    launch = page.get_by_role("button", name="Launch backfill")
    launch.click()
    expect(launch).to_be_hidden()
    page.goto("/runs/?view=backfills")
    expect(page.get_by_text("fct_participation").first).to_be_visible()
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=PATIENCE_MS)


def test_failed_events_are_replayed_and_first_only_counted(page: Page) -> None:
    page.goto("/locations/pipelines/jobs/replay_failed_events/playground")
    page.get_by_role("button", name="Launch Run").click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_text("RUN_SUCCESS", exact=True).first).to_be_visible(timeout=PATIENCE_MS)

"""What Dagster is doing, asked through its own web interface as an operator's browser does.

What a build consists of is decided in `pipelines.defs`.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

JOB = "build_warehouse"
UNFINISHED = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")

_NEWEST_RUN = """
query Newest($job: String!) {
  runsOrError(filter: {pipelineName: $job}, limit: 1) {
    ... on Runs { results { runId status stepStats { stepKey status } } }
  }
}
"""


@dataclass(frozen=True)
class Run:
    """One run of the job. `steps_under_way` are names as Dagster shows them."""

    run_id: str
    status: str
    steps_done: int
    steps_under_way: list[str]

    @property
    def is_unfinished(self) -> bool:
        return self.status in UNFINISHED


def newest_run(port: int) -> Run | None:
    """The newest run of the job; None before the first. Raises OSError when Dagster does not answer."""
    answer = _ask(port, _NEWEST_RUN, {"job": JOB})
    results = answer["data"]["runsOrError"]["results"]
    return _run(results[0]) if results else None


def _run(found: dict[str, Any]) -> Run:
    steps = found["stepStats"]
    return Run(
        run_id=found["runId"],
        status=found["status"],
        steps_done=sum(step["status"] == "SUCCESS" for step in steps),
        steps_under_way=[step["stepKey"] for step in steps if step["status"] == "IN_PROGRESS"],
    )


def _ask(port: int, query: str, variables: dict[str, str]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # always http on loopback
        return json.load(response)

"""One tenant at ten times its limit: what it does to the answers of another, on the same gateway."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.benchmarks.ingestion import load
from tests.benchmarks.ingestion.gateway import SET_LIMIT, filled_in
from tests.benchmarks.ingestion.rows import GATEWAY, Row
from tests.benchmarks.ingestion.servers import Bench

NOISY_TENANT = "bench-noisy"
BOTH = Row(GATEWAY, "unary", 100)
"""How both tenants post."""

AT_MOST_TIMES_SLOWER = 2.0
LEAD_SECONDS = 1.0
"""The noisy tenant begins so much earlier and ends so much later."""


@dataclass(frozen=True)
class Contention:
    """The quiet tenant's figures alone and beside the noisy one, and the noisy one's."""

    limit: int
    alone: load.Figures
    beside: load.Figures
    noisy: load.Figures

    @property
    def times_slower(self) -> float:
        return self.beside.p99_ms / self.alone.p99_ms

    @property
    def holds(self) -> bool:
        is_sound = self.alone.is_sound and self.beside.is_sound
        return is_sound and self.times_slower <= AT_MOST_TIMES_SLOWER

    def lines(self) -> list[str]:
        return [
            f"One tenant posts {self.alone.events_per_second:,.0f} events/s, half of what the gateway can; "
            f"another, with a limit of {self.limit:,} events/s, posts ten times that: "
            f"{self.noisy.events_per_second:,.0f} per second were accepted, of the others "
            f"{dict(self.noisy.errors)}.",
            f"p99 of the first: {self.alone.p99_ms:.1f} ms alone, {self.beside.p99_ms:.1f} ms beside the "
            f"second: × {self.times_slower:.2f}, must be ≤ {AT_MOST_TIMES_SLOWER:g}: "
            f"{'holds' if self.holds else 'FAILS'}.",
        ]


def measure(bench: Bench, rounds: int, seconds: float) -> Contention:
    capacity = bench.measure(BOTH, seconds).events_per_second
    limit = int(capacity / 10)
    quiet = replace(bench.plan(BOTH, seconds), events_per_second=capacity / 2)
    noisy = replace(
        bench.plan(BOTH, seconds + 2 * LEAD_SECONDS),
        authorization=bench.key(NOISY_TENANT),
        warm_up_seconds=load.WARM_UP_SECONDS,
        events_per_second=10.0 * limit,
    )
    bench.circles(*filled_in(SET_LIMIT, tenant=NOISY_TENANT, events=limit))
    alone, beside, others = [], [], []
    for _ in range(rounds):
        alone.append(load.finish(load.start(bench.generator, quiet)))
        other = load.start(bench.generator, noisy)
        beside.append(_measured_within(bench, quiet))
        others.append(load.finish(other))
    return Contention(limit, load.medians(alone), load.medians(beside), load.medians(others))


def _measured_within(bench: Bench, plan: load.Plan) -> load.Figures:
    """The same, while somebody who has just begun has warmed up."""
    later = replace(plan, warm_up_seconds=plan.warm_up_seconds + LEAD_SECONDS)
    return load.finish(load.start(bench.generator, later))

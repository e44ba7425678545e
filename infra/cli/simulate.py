"""`circles simulate`: its options. What a community does is `services.simulator`'s, how it is posted
`simulate_job`'s.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

SHARE = click.FloatRange(min=0, max=1)


def _pairs(context: click.Context, parameter: click.Parameter, texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value:
            raise click.BadParameter(f"{text!r} is not {parameter.metavar}")
        pairs[name.replace("-", "_")] = value
    return pairs


@click.command()
@click.argument("community", required=False)
@click.option("--list", "is_list", is_flag=True, help="Show the communities, and what can be chosen in each.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Another: other people."
)
@click.option(
    "--size",
    "--people",
    "size",
    type=click.IntRange(min=20),
    help="How many people (of `community`: events), where they are not as published.",
)
@click.option(
    "--set",
    "pairs",
    multiple=True,
    metavar="PARAM=VALUE",
    callback=_pairs,
    help="What is planted; as often as needed.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Events per second; else as fast as it goes.",
)
@click.option("--late", type=SHARE, default=0.0, help="Share of events that are posted after later ones.")
@click.option("--duplicated", type=SHARE, default=0.0, help="Share that is posted twice.")
@click.option(
    "--retracted", type=SHARE, default=0.0, help="Share beside which a mistake is posted and taken back."
)
@click.option(
    "--withdrawn", type=SHARE, default=0.0, help="Further people who take back their consent, as a share."
)
@click.option("--unconsenting", type=SHARE, default=0.0, help="Further people who never gave it, as a share.")
@click.option("--tenant", help="Instead of the community's own. Its data class must be synthetic.")
@click.option(
    "--truth", type=click.Path(dir_okay=False, path_type=Path), help="Write what is planted here, as JSON."
)
@click.option("--dry-run", is_flag=True, help="Show what would be posted; nothing need run.")
def simulate(
    *,
    community: str | None,
    is_list: bool,
    seed: int,
    size: int | None,
    pairs: dict[str, str],
    rate: float | None,
    late: float,
    duplicated: float,
    retracted: float,
    withdrawn: float,
    unconsenting: float,
    tenant: str | None,
    truth: Path | None,
    dry_run: bool,
) -> None:
    """Post COMMUNITY, which is about nobody, as a partner would: its truth is known, and is printed.

    Everything is of the data class synthetic, from the first event to the published row. Without a key in
    CIRCLES_PARTNER_KEY one is made on this stack, and ends with the command. Disorder leaves the truth as it
    is. The same command again changes nothing; another seed, size or parameter is another tenant.

    \b
    circles simulate --list
    circles simulate psycho-babble
    circles simulate moderation --people 600 --set reply_peer=0.1 --truth truth.json
    circles simulate survey --rate 500 --late 0.2 --duplicated 0.1 --retracted 0.05 --withdrawn 0.1
    """
    from infra.cli.simulate_job import Job, show_communities
    from services.simulator.disorder import Disorder

    if is_list:
        show_communities()
        return
    if community is None:
        raise click.UsageError("Which COMMUNITY? `circles simulate --list` shows them.")
    disorder = Disorder(late, duplicated, retracted, withdrawn, unconsenting)
    job = Job(community, seed, size, pairs, rate, disorder, tenant, truth, dry_run)
    sys.exit(0 if job.run() else 1)

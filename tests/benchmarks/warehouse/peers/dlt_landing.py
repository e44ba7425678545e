"""dlt reads a topic to its end into a DuckDB file: `python -m tests.benchmarks.warehouse.peers.dlt_landing`.

Its resource yields Arrow tables, which the decoder of landing makes of many envelopes at once: the fastest
way into dlt. The first part is not measured. Prints what the rest took, as JSON. Runs in dlt's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from confluent_kafka import Consumer, Message, TopicPartition

from services.kafka.topics import Topic, topic
from services.landing.decode import Record, decode

ENVELOPES, TABLE_ROWS = 1000, 200_000
"""What landing decodes at once, and what it puts into a commit."""
PATIENCE_SECONDS = 10.0


def main() -> None:
    options = _options()
    source = topic("participation-events")
    pipeline = dlt.pipeline(
        "landing",
        pipelines_dir=str(options.folder),
        destination=dlt.destinations.duckdb(str(options.folder / "landed.duckdb")),
        dataset_name="raw",
    )
    settings = json.loads(options.kafka.read_text())
    consumer = Consumer({**settings, "group.id": "dlt", "enable.auto.commit": False})
    places = [TopicPartition(source.name, each, 0) for each in range(source.partitions)]
    consumer.assign(places)
    ends = {each.partition: consumer.get_watermark_offsets(each, PATIENCE_SECONDS)[1] for each in places}
    reading = _tables(consumer, source, ends)
    _load(pipeline, [next(reading)])
    begun_at, begun = time.monotonic(), _cpu_seconds()
    rows = _load(pipeline, reading)
    print(
        json.dumps(
            {
                "rows": rows,
                "cpu_seconds": _cpu_seconds() - begun,
                "seconds": time.monotonic() - begun_at,
            }
        )
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--kafka", type=Path, required=True, help="a file with librdkafka's settings")
    return parser.parse_args()


def _load(pipeline: Any, tables: Any) -> int:
    """Returns how many rows are there that were not before."""
    counted = 0

    def counting() -> Iterator[pa.Table]:
        nonlocal counted
        for each in tables:
            counted += each.num_rows
            yield each

    pipeline.run(counting(), table_name="participation_events", write_disposition="append")
    return counted


def _tables(consumer: Consumer, source: Topic, ends: dict[int, int]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    reached = dict.fromkeys(ends, 0)
    while any(reached[each] < end for each, end in ends.items()):
        found = [_record(each) for each in consumer.consume(ENVELOPES, timeout=PATIENCE_SECONDS)]
        reached |= {each.partition: each.offset + 1 for each in found}
        waiting.append(decode(source, found).rows)
        if sum(each.num_rows for each in waiting) >= TABLE_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _record(message: Message) -> Record:
    partition, offset, key, value = message.partition(), message.offset(), message.key(), message.value()
    if message.error() is not None:
        raise RuntimeError(str(message.error()))
    assert partition is not None and offset is not None
    return Record(partition, offset, key, value)


def _cpu_seconds() -> float:
    """dlt may work in processes of its own."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    main()

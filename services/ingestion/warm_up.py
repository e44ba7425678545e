"""Has the kernels compiled, or loads what was compiled before: seconds, which no call should wait."""

from __future__ import annotations

from services.ingestion.doors import doors
from services.ingestion.pseudonyms import KEY_BYTES, Pseudonymiser
from services.ingestion.recent import Recent
from services.ingestion.responses import accepted_results
from services.ingestion.wire import Reader, References


def warm_up() -> None:
    door, recent = doors()[0], Recent(1)
    references = References("", Pseudonymiser(bytes(KEY_BYTES)))
    references.make_room()
    data = door.post_request(events=[door.event()]).SerializeToString()
    reader = Reader(door.topic, door.post_request.DESCRIPTOR, max_events=1)
    reader.split(data)
    found = reader.read(data, references, recent.known(""), 0, 1)
    assert found is not None  # noqa: S101  # an empty event is one, and not good
    events = found.write().events
    recent.add("", events)
    accepted_results(events)

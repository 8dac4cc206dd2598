"""The body of a create, by the rules that take time: JSON, three ranges, and the fields that are indexed,
which are the members of metadata that begin with an underscore."""

import json
from dataclasses import dataclass


@dataclass
class Feedback:
    trace_id: str
    value: int
    weight: str
    metadata: str | None
    indexed: dict[str, str]


class Invalid(Exception):
    pass


def parse(text):
    """Reads a body. Raises Invalid with a message for the caller."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise Invalid(f"body: invalid: {error}") from None
    if not isinstance(body, dict):
        raise Invalid("body: expected a JSON object")
    trace_id, value, weight = body.get("trace_id"), body.get("value"), body.get("weight", 1)
    metadata = body.get("metadata")
    if not isinstance(trace_id, str) or not 1 <= len(trace_id.encode()) <= 512:
        raise Invalid("trace_id: expected 1 to 512 bytes")
    if not isinstance(value, int) or not -10 <= value <= 10:
        raise Invalid("value: expected an integer from -10 to 10")
    if not isinstance(weight, (int, float)) or not 0 <= weight <= 1:
        raise Invalid("weight: expected a number from 0 to 1")
    if metadata is not None and not isinstance(metadata, dict):
        raise Invalid("metadata: expected a JSON object")
    indexed = {
        name[1:]: member if isinstance(member, str) else json.dumps(member)
        for name, member in (metadata or {}).items()
        if name.startswith("_") and isinstance(member, (str, int, float)) and member != ""
    }
    compact = None if metadata is None else json.dumps(metadata, separators=(",", ":"), ensure_ascii=False)
    return Feedback(trace_id, value, str(weight), compact, indexed)

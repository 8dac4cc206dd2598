"""The body of a create: what it may hold, and everything that is wrong with it."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal

MAX_METADATA = 64 * 1024
MAX_INDEXED = 512
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")

TRACE_ID = "a string of 1 to 512 bytes"
VALUE = "an integer from -10 to 10"
WEIGHT = "a number from 0 to 1"
METADATA = "a JSON object, or a string that holds one"
INDEXED = ("user", "organisation", "prompt", "environment")


@dataclass
class Feedback:
    trace_id: str
    value: int
    weight: str
    metadata: str | None
    indexed: dict[str, str]


@dataclass
class Fault:
    field: str
    message: str
    too_large: bool = False


class Invalid(Exception):
    def __init__(self, faults):
        super().__init__("invalid")
        self.faults = faults

    @classmethod
    def of(cls, field, rest, too_large=False):
        return cls([Fault(field, f"{field} {rest}", too_large)])


def parse(text):
    """Reads a body. Raises Invalid with all faults."""
    try:
        body = load(text)
    except ValueError as error:
        raise Invalid.of("body", f"must be JSON: {error}") from None
    if not isinstance(body, dict):
        raise Invalid.of("body", f"must be a JSON object, got {describe(body)}")
    faults = []

    def take(read, *arguments):
        try:
            return read(*arguments)
        except Invalid as invalid:
            faults.extend(invalid.faults)

    def required(name, expected, read):
        if name not in body:
            raise Invalid.of(name, f"is required and must be {expected}")
        value = read(body[name])
        if value is None:
            raise Invalid.of(name, f"must be {expected}, got {got(body[name], expected)}")
        return value

    own, alias = body.get("trace_id") is not None, body.get("traceID") is not None
    trace_id = None
    if own or not alias:
        trace_id = take(required, "trace_id", TRACE_ID, name_of)
    if alias:
        other = take(required, "traceID", TRACE_ID, name_of)
        if own and None not in (trace_id, other) and trace_id != other:
            faults.append(Fault("traceID", "traceID must be the same as trace_id where both are given"))
        trace_id = other if not own else trace_id
    value = take(required, "value", VALUE, vote)
    weight = "1" if body.get("weight") is None else take(required, "weight", WEIGHT, share)
    metadata, indexed = None, {}
    if body.get("metadata") is not None:
        metadata, indexed = take(read_metadata, body["metadata"]) or (None, {})
    if faults:
        raise Invalid(faults)
    return Feedback(trace_id, value, weight, metadata, indexed)


def load(text):
    return json.loads(text, parse_constant=no_constant)


def no_constant(name):
    raise ValueError(f"{name} is not JSON")


def name_of(value):
    return value if isinstance(value, str) and 1 <= len(value.encode()) <= 512 else None


def vote(value):
    value = number(value)
    return int(value) if value is not None and value == value // 1 and -10 <= value <= 10 else None


def share(value):
    """A weight as it is stored: the shortest text without an exponent."""
    value = number(value)
    if value is None or not 0 <= value <= 1:
        return None
    # Adding zero turns -0 into 0.
    return format(Decimal(repr(float(value) + 0.0)).normalize(), "f")


def number(value):
    """A number, or a string that holds nothing but one."""
    if isinstance(value, str):
        return float(value) if NUMBER.fullmatch(value) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def read_metadata(metadata):
    """Metadata as JSON text, and the values it is indexed by."""
    if isinstance(metadata, str):
        text = metadata.strip()
        try:
            metadata = load(text)
        except ValueError:
            rest = f"must be {METADATA}, got a string of {len(metadata.encode())} bytes that is not JSON"
            raise Invalid.of("metadata", rest) from None
        if not isinstance(metadata, dict):
            rest = f"must be {METADATA}, got a string that holds {describe(metadata)}"
            raise Invalid.of("metadata", rest)
    elif isinstance(metadata, dict):
        text = json.dumps(metadata, separators=(",", ":"), ensure_ascii=False)
    else:
        raise Invalid.of("metadata", f"must be {METADATA}, got {describe(metadata)}")
    size = len(text.encode())
    if size > MAX_METADATA:
        rest = f"must be at most {MAX_METADATA} bytes of JSON, got {size}"
        raise Invalid.of("metadata", rest, too_large=True)
    indexed, faults = {}, []
    for name in INDEXED:
        value = metadata.get(f"_{name}")
        if value is None or value == "":
            continue
        key = value if isinstance(value, str) else json.dumps(value)
        if isinstance(value, (list, dict)) or len(key.encode()) > MAX_INDEXED:
            field = f"metadata._{name}"
            expected = f"a string, number or boolean of at most {MAX_INDEXED} bytes"
            faults.append(Fault(field, f"{field} must be {expected}, got {describe(value)}"))
        indexed[name] = key
    if faults:
        raise Invalid(faults)
    return text, indexed


def got(value, expected):
    """What came. A score may be quoted, a short text at least."""
    if isinstance(value, str) and expected != TRACE_ID and 1 <= len(value.encode()) <= 16:
        return f"the string {json.dumps(value, ensure_ascii=False)}"
    return describe(value)


def describe(value):
    """What came, for a message: of text only how much there was."""
    if isinstance(value, str):
        return f"a string of {len(value.encode())} bytes" if value else "an empty string"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, dict):
        return "an object"
    return json.dumps(value)

"""What OpenAPI cannot say of a request, so that schemathesis makes requests that are meant.

A string's `format` is a name to it: here is what the formats of openapi.yaml hold. And a valid
request keeps rules between its parameters, which are in their descriptions.
"""

import base64
import hashlib
import itertools
import json
import re
from datetime import UTC, datetime

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.openapi.checks import RejectedPositiveData

text = st.text(min_size=1, max_size=32)


def target_id(members):
    return base64.b64encode(json.dumps(members).encode()).decode()


def cursor(place):
    """A cursor of the default order, as `shared::query::encode_cursor` makes it."""
    body = bytes([1, 1]) + place
    check = hashlib.sha256(b"cursor" + body).digest()[:4]
    return base64.urlsafe_b64encode(body + check).decode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)

schemathesis.openapi.format(
    "feedback-target-id", st.fixed_dictionaries({"spanId": text, "traceId": text}).map(target_id)
)
schemathesis.openapi.format("cursor", st.binary(min_size=16, max_size=16).map(cursor))
schemathesis.openapi.format("metadata", st.dictionaries(st.text(), json_values, max_size=3).map(json.dumps))

moments = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
schemathesis.openapi.format(
    "iso-8601",
    moments.map(lambda moment: moment.date().isoformat())
    | moments.map(lambda moment: moment.isoformat(timespec="minutes"))
    | moments.map(datetime.isoformat)
    | st.tuples(moments, st.sampled_from(["Z", "+02:00", "-0730", "+02"])).map(
        lambda parts: parts[0].isoformat() + parts[1]
    ),
)

calls = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes a request of its own of each that has an `Idempotency-Key`, and mends valid ones."""
    headers = case.headers or {}
    key = headers.get("Idempotency-Key")
    # Two requests under one key are a 409, and few values are tried. Wrong ones stay as they are.
    if isinstance(key, str) and 1 <= len(key) <= 255:
        number = str(next(calls))
        headers["Idempotency-Key"] = key[: 255 - len(number)] + number
    if case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE:
        # Where there is a `format`, the coverage phase has no other text than zeros.
        if headers.get("If-Match") == "0":
            headers["If-Match"] = '"0"'
        mend_query(case.query or {})
        # A cursor is of one user, and only the service makes it.
        if case.path == "/v1/erasures" and isinstance(case.body, dict):
            case.body.pop("cursor", None)
        # An upsert needs a user.
        if "x-hindsight-upsert" in headers and not all(has_user(vote) for vote in votes(case.body)):
            del headers["x-hindsight-upsert"]
        # The marker is one of DynamoDB's 100 actions in a transaction.
        if key is not None and isinstance(case.body, (list, dict)) and len(case.body) == 100:
            if isinstance(case.body, list):
                case.body.pop()
            elif all(name.isdigit() for name in case.body):
                case.body.popitem()


def votes(body):
    """The votes of a create: one, an array, or the object with numeric keys that the Node SDK makes of it."""
    if isinstance(body, list):
        return body
    if isinstance(body, dict) and body and all(name.isdigit() for name in body):
        return list(body.values())
    return [body]


def has_user(vote):
    metadata = vote.get("metadata") if isinstance(vote, dict) else None
    return isinstance(metadata, dict) and isinstance(metadata.get("_user"), str) and metadata["_user"] != ""


def mend_query(query):
    # A span is named within its trace.
    if "span_id" in query and "trace_id" not in query:
        query["trace_id"] = "t"
    for name in ("from", "to", "time_of_generation_min", "time_of_generation_max"):
        if set(query.get(name, "")) == {"0"}:
            query[name] = "2026-01-31"
    for earlier, later in (("from", "to"), ("time_of_generation_min", "time_of_generation_max")):
        if earlier in query and later in query and not in_order(query[earlier], query[later]):
            query[earlier], query[later] = query[later], query[earlier]
    # A range is of values or of ratings, and its ends are in order.
    for value_min, value_max, rating_min, rating_max in (
        ("value_min", "value_max", "rating_min", "rating_max"),
        ("valueMin", "valueMax", "ratingMin", "ratingMax"),
    ):
        if value_min in query or value_max in query:
            query.pop(rating_min, None)
            query.pop(rating_max, None)
        for least, most in ((value_min, value_max), (rating_min, rating_max)):
            if least in query and most in query and int(query[most]) < int(query[least]):
                query[least], query[most] = query[most], query[least]
    # A cursor goes on in the order in which it was given out.
    if "cursor" in query:
        query.pop("order", None)
    for name in ("cursor", "pageToken"):
        if set(query.get(name, "")) == {"0"}:
            query[name] = cursor(bytes(16))


def in_order(earlier, later):
    return moment(earlier) <= moment(later)


def moment(text):
    """Without an offset it is UTC."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


@schemathesis.hook("before_call").apply_to(operation_id="listGatewayFeedback")
def name_one_span(context, case, kwargs):
    query = case.query or {}
    if case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE:
        # Of the two ways to name a span, one; beside it, the other would have to agree.
        if "feedbackTargetId" in query:
            query.pop("traceId", None)
            query.pop("spanId", None)
        else:
            query.setdefault("traceId", "t")
        case.query = query


TOO_LONG = re.compile(r"expected .*?(?:1 to|at most) (\d+) bytes, got (?:a string of )?(\d+) bytes")


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Lets pass what a schema cannot say.

    A text is refused for its bytes, and a schema counts its characters. Repeated reasons and prompts are one, so
    that an array over its limit may be within it. And hyper answers a request line over its buffer with 431, where
    API Gateway answers 414.
    """
    if response.status_code == 431:
        return False
    if "violates `maxItems`" in failure.message or "more items than allowed" in failure.message:
        return False
    if not isinstance(failure, RejectedPositiveData) or response.status_code not in (400, 413):
        return True
    faults = [TOO_LONG.search(fault) for fault in response.json()["message"].split("; ")]
    return not all(fault and int(fault[2]) > int(fault[1]) for fault in faults)

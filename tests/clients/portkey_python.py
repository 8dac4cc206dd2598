"""The released Portkey SDK for Python, sync and async, against a running server.

    HINDSIGHT_URL=http://127.0.0.1:8787 HINDSIGHT_KEY=hsk_… python -m unittest portkey_python

Everything the SDK stores is read back without it.
"""

import asyncio
import contextlib
import http.server
import json
import os
import re
import threading
import time
import unittest
import uuid

# In a developer's environment, this variable would replace the key that a test omits.
os.environ.pop("PORTKEY_API_KEY", None)

import requests
from portkey_ai import AsyncPortkey, Portkey
from portkey_ai.api_resources import exceptions

URL = os.environ["HINDSIGHT_URL"].rstrip("/")
KEY = os.environ["HINDSIGHT_KEY"]

HYPHENATED_V7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_trace():
    return f"python-{uuid.uuid4()}"


def get(path, **query):
    """Sends a GET without the SDK."""
    headers = {"x-portkey-api-key": KEY}
    return requests.get(f"{URL}{path}", headers=headers, params=query, timeout=20)


def stored(feedback_id):
    """Returns the stored record."""
    response = get(f"/v1/feedback/{feedback_id}")
    response.raise_for_status()
    return response.json()


def records(trace, expected):
    """Returns a trace's records, oldest first, once there are as many as expected."""
    until = time.monotonic() + 5
    while True:
        response = get("/v1/feedback", trace_id=trace, order="asc", limit=100)
        response.raise_for_status()
        found = response.json()["data"]
        if len(found) == expected or time.monotonic() > until:
            return found
        time.sleep(0.05)


def listed(trace, expected):
    """Returns the ids of a trace's records, oldest first, once there are as many as expected."""
    return [record["id"] for record in records(trace, expected)]


def absent_id():
    """Returns an id that no record has. It is old, because young ones are looked up again for a while."""
    return "0190a000-0000-7" + str(uuid.uuid4())[15:]


class SyncClient:
    """The SDK's client, called as in the vendor's documents."""

    def __init__(self, **options):
        self.client = Portkey(**{"base_url": f"{URL}/v1", **options})

    def call(self, method, **arguments):
        return getattr(self.client.feedback, method)(**arguments)

    def close(self):
        self.client.close()


class AsyncClient:
    """The SDK's async client, in its own event loop."""

    def __init__(self, **options):
        self.runner = asyncio.Runner()
        self.client = AsyncPortkey(**{"base_url": f"{URL}/v1", **options})

    def call(self, method, **arguments):
        async def awaited():
            return await getattr(self.client.feedback, method)(**arguments)

        return self.runner.run(awaited())

    def close(self):
        self.runner.run(self.client.close())
        self.runner.close()


class Feedback:
    """Tests for either client."""

    kind = None

    def client(self, **options):
        client = self.kind(**options)
        self.addCleanup(client.close)
        return client

    def setUp(self):
        self.portkey = self.client(api_key=KEY)
        self.trace = new_trace()

    def create(self, **arguments):
        """Creates one record, checks the whole response, and returns the record's id."""
        answer = self.portkey.call("create", trace_id=self.trace, **arguments)
        self.assertEqual(answer.status, "success")
        self.assertEqual(answer.message, "Feedback successfully saved")
        self.assertEqual(len(answer.feedback_ids), 1)
        self.assertRegex(answer.feedback_ids[0], HYPHENATED_V7)
        return answer.feedback_ids[0]

    def update(self, feedback_id, **arguments):
        answer = self.portkey.call("update", feedback_id=feedback_id, **arguments)
        self.assertEqual(answer.status, "success")
        self.assertEqual(answer.message, "Feedback successfully updated")
        return answer.feedback_ids

    def test_a_thumbs_up_is_stored_with_the_defaults(self):
        feedback_id = self.create(value=1)
        record = stored(feedback_id)
        self.assertRegex(record.pop("created_at"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        record.pop("updated_at")
        self.assertEqual(
            record,
            {
                "id": feedback_id,
                "trace_id": self.trace,
                "span_id": None,
                "tracing_project_fqn": None,
                "scale": "value",
                "value": 1,
                "weight": 1.0,
                "rating": None,
                "comment": None,
                "reasons": [],
                "metadata": None,
                # The public part of the key.
                "written_by": KEY[:20],
                "version": 1,
            },
        )

    def test_the_documents_sample(self):
        record = stored(self.create(value=5, weight=1, metadata={}))
        self.assertEqual((record["value"], record["weight"], record["metadata"]), (5, 1.0, {}))

    def test_the_documents_curl_body(self):
        metadata = {
            "text": "title was irrelevant",
            "_user": "fef653",
            "_organisation": "o9876",
            "_prompt": "test_prompt",
            "_environment": "production",
        }
        record = stored(self.create(value=-10, weight=0.5, metadata=metadata))
        self.assertEqual((record["value"], record["weight"], record["metadata"]), (-10, 0.5, metadata))

    def test_zero_is_a_vote(self):
        record = stored(self.create(value=0))
        self.assertEqual((record["scale"], record["value"]), ("value", 0))

    def test_every_value_is_stored_as_it_is(self):
        values = list(range(-10, 11))
        feedbacks = [{"trace_id": self.trace, "value": value} for value in values]
        ids = self.portkey.call("bulk_create", feedbacks=feedbacks).feedback_ids
        found = [(record["id"], record["value"]) for record in records(self.trace, len(values))]
        self.assertEqual(found, list(zip(ids, values, strict=True)))

    def test_numbers_may_come_as_strings(self):
        record = stored(self.create(value="1", weight="0.25"))
        self.assertEqual((record["value"], record["weight"]), (1, 0.25))

    def test_weights_are_stored_as_they_are(self):
        for weight in (0, 0.0, 0.1, 0.333333333333, 0.5, 1, 1.0):
            with self.subTest(weight=weight):
                self.assertEqual(stored(self.create(value=-1, weight=weight))["weight"], weight)

    def test_metadata_may_be_the_text_of_an_object(self):
        metadata = {"text": "zu lang", "_user": "u-1", "n": 3}
        record = stored(self.create(value=2, metadata=json.dumps(metadata)))
        self.assertEqual(record["metadata"], metadata)

    def test_metadata_values_may_be_any_json(self):
        metadata = {
            "nothing": None,
            "truth": True,
            "integer": 12345678901234567890123,
            "number": 3.141592653589793,
            "list": [1, "two", None, {"three": []}],
            "object": {"deep": {"er": "👍 \u0001 \" \\ é"}},
        }
        self.assertEqual(stored(self.create(value=3, metadata=metadata))["metadata"], metadata)

    def test_a_trace_id_is_free_text(self):
        for trace in ("1729", "chat:1:message:2", "a#b", "a%23b/c?d&e=f", "Spur 👣 ñ", " ", "x" * 512):
            with self.subTest(trace=trace):
                answer = self.portkey.call("create", trace_id=trace, value=1)
                self.assertEqual(stored(answer.feedback_ids[0])["trace_id"], trace)

    def test_a_bulk_response_is_in_input_order(self):
        feedbacks = [
            {"trace_id": self.trace, "value": index % 21 - 10, "weight": index / 100, "metadata": {"index": index}}
            for index in range(100)
        ]
        answer = self.portkey.call("bulk_create", feedbacks=feedbacks)
        self.assertEqual(answer.status, "success")
        self.assertEqual(len(set(answer.feedback_ids)), 100)
        found = records(self.trace, 100)
        self.assertEqual([record["id"] for record in found], answer.feedback_ids)
        for index, record in enumerate(found):
            self.assertEqual((record["value"], record["weight"]), (index % 21 - 10, index / 100))
            self.assertEqual(record["metadata"], {"index": index})

    def test_a_bulk_with_one_fault_stores_nothing_and_names_it(self):
        feedbacks = [{"trace_id": self.trace, "value": 1} for _ in range(5)]
        feedbacks[3]["value"] = 11
        with self.assertRaises(exceptions.BadRequestError) as raised:
            self.portkey.call("bulk_create", feedbacks=feedbacks)
        self.assertIn("feedback[3].value", raised.exception.message)
        # Once the list contains this later record, it would also contain the others.
        feedback_id = self.create(value=1)
        self.assertEqual(listed(self.trace, 1), [feedback_id])

    def test_a_bulk_holds_1_to_100(self):
        for count in (0, 101):
            with self.subTest(count=count), self.assertRaises(exceptions.BadRequestError) as raised:
                feedbacks = [{"trace_id": self.trace, "value": 1}] * count
                self.portkey.call("bulk_create", feedbacks=feedbacks)
            self.assertIn("1 to 100", raised.exception.message)

    def test_an_update_takes_effect_at_once_and_keeps_what_it_leaves_out(self):
        feedback_id = self.create(value=5, weight=0.5, metadata={"a": 1})
        self.assertEqual(self.update(feedback_id, value=-3), [feedback_id])
        record = stored(feedback_id)
        self.assertEqual((record["value"], record["weight"], record["metadata"]), (-3, 0.5, {"a": 1}))
        self.assertEqual((record["trace_id"], record["version"]), (self.trace, 2))
        self.update(feedback_id, value=0, weight=0, metadata={"b": [2]})
        record = stored(feedback_id)
        self.assertEqual((record["value"], record["weight"], record["metadata"]), (0, 0.0, {"b": [2]}))
        self.update(feedback_id, value=1, metadata='{"c": 3}')
        self.assertEqual(stored(feedback_id)["metadata"], {"c": 3})

    def test_an_update_with_none_clears(self):
        feedback_id = self.create(value=5, weight=0.5, metadata={"a": 1})
        self.update(feedback_id, value=5, weight=None, metadata=None)
        record = stored(feedback_id)
        self.assertEqual((record["value"], record["weight"], record["metadata"]), (5, 1.0, None))

    def test_an_id_may_be_written_in_other_ways(self):
        feedback_id = self.create(value=1)
        for value, way in enumerate((feedback_id.upper(), feedback_id.replace("-", ""), uuid.UUID(feedback_id))):
            self.assertEqual(self.update(way, value=value), [feedback_id])
            self.assertEqual(stored(feedback_id)["value"], value)

    def test_a_fault_is_an_exception_that_names_the_field(self):
        for arguments, field in (
            ({"trace_id": self.trace, "value": 11}, "value"),
            ({"trace_id": self.trace, "value": -11}, "value"),
            ({"trace_id": self.trace, "value": 5.5}, "value"),
            ({"trace_id": self.trace, "value": "five"}, "value"),
            ({"trace_id": self.trace, "value": True}, "value"),
            ({"trace_id": self.trace, "value": None}, "value"),
            ({"trace_id": self.trace}, "value"),
            ({"value": 1}, "trace_id"),
            ({"trace_id": "x" * 513, "value": 1}, "trace_id"),
            ({"trace_id": self.trace, "value": 1, "weight": 1.1}, "weight"),
            ({"trace_id": self.trace, "value": 1, "weight": -0.1}, "weight"),
            ({"trace_id": self.trace, "value": 1, "metadata": "text"}, "metadata"),
            ({"trace_id": self.trace, "value": 1, "metadata": [1]}, "metadata"),
            ({"trace_id": self.trace, "value": 1, "metadata": {"_user": "x" * 513}}, "_user"),
        ):
            with self.subTest(arguments=arguments):
                with self.assertRaises(exceptions.BadRequestError) as raised:
                    self.portkey.call("create", **arguments)
                self.assertEqual(raised.exception.status_code, 400)
                self.assertRegex(raised.exception.message, rf"^Error code: 400 - .*\b{field}\b")
                error = raised.exception.response.json()
                self.assertIn(field, error["error"]["param"])
                self.assertEqual(error["error"]["code"], "AB01")

    def test_every_fault_is_named_at_once(self):
        with self.assertRaises(exceptions.BadRequestError) as raised:
            self.portkey.call("create", value=99, weight=2, metadata=7)
        for field in ("trace_id", "value", "weight", "metadata"):
            self.assertIn(field, raised.exception.message)

    def test_an_update_needs_a_value(self):
        feedback_id = self.create(value=1)
        with self.assertRaises(exceptions.BadRequestError) as raised:
            self.portkey.call("update", feedback_id=feedback_id, weight=0.5)
        self.assertIn("value", raised.exception.message)
        self.assertEqual(stored(feedback_id)["version"], 1)

    def test_an_unknown_id_is_not_found(self):
        with self.assertRaises(exceptions.NotFoundError) as raised:
            self.portkey.call("update", feedback_id=absent_id(), value=1)
        self.assertEqual(raised.exception.message, "Error code: 404 - no such feedback")
        self.assertEqual(raised.exception.response.json()["error"]["code"], "AB08")

    def test_a_bad_key_is_refused(self):
        wrong = KEY[:-1] + ("0" if KEY[-1] != "0" else "1")
        for options in ({"api_key": wrong}, {"api_key": "nonsense"}, {"Authorization": wrong}, {}):
            with self.subTest(options=list(options)):
                with self.assertRaises(exceptions.AuthenticationError) as raised:
                    self.client(**options).call("create", trace_id=self.trace, value=1)
                self.assertRegex(raised.exception.message, "^Error code: 401 - .*API key")
                self.assertNotIn(wrong, raised.exception.message)
                self.assertEqual(raised.exception.response.json()["error"]["code"], "AB05")

    def test_sizes_over_their_limit_are_rejected_with_the_limit(self):
        for much, limit in (
            ({"metadata": {"text": "x" * 65_536}}, "65536"),
            ({"padding": "x" * 1_048_576}, "1048576"),
        ):
            with self.subTest(limit=limit), self.assertRaises(exceptions.APIStatusError) as raised:
                self.portkey.call("bulk_create", feedbacks=[{"trace_id": self.trace, "value": 1, **much}])
            self.assertEqual(raised.exception.status_code, 413)
            self.assertIn(limit, raised.exception.message)

    def test_authorization_alone_is_enough(self):
        # The SDK also sends an empty x-portkey-api-key.
        for authorization in (KEY, f"Bearer {KEY}"):
            with self.subTest(bearer=authorization != KEY):
                answer = self.client(Authorization=authorization).call("create", trace_id=self.trace, value=4)
                self.assertEqual(stored(answer.feedback_ids[0])["value"], 4)

    def test_the_portkey_header_takes_precedence_over_authorization(self):
        client = self.client(api_key=KEY, Authorization="Bearer sk-of-a-model-provider")
        answer = client.call("create", trace_id=self.trace, value=4)
        self.assertEqual(stored(answer.feedback_ids[0])["value"], 4)

    def test_an_idempotency_key_makes_a_repeat_one_write(self):
        # The SDK prefixes unknown headers with x-portkey- unless it is told to forward them.
        client = self.client(
            api_key=KEY, idempotency_key=str(uuid.uuid4()), forward_headers=["idempotency_key"]
        )
        first, again = (client.call("create", trace_id=self.trace, value=1) for _ in range(2))
        self.assertEqual(first.feedback_ids, again.feedback_ids)
        self.assertEqual(listed(self.trace, 1), first.feedback_ids)
        with self.assertRaises(exceptions.ConflictError) as raised:
            client.call("create", trace_id=self.trace, value=2)
        self.assertIn("Idempotency-Key", raised.exception.message)

    def test_the_other_dialect_sees_it(self):
        feedback_id = self.create(value=-7, weight=0.75, metadata={"a": "b"})
        record = get(f"/api/svc/v1/gateway-feedback/{feedback_id}").json()["data"]
        self.assertEqual(record["id"], feedback_id.replace("-", ""))
        self.assertEqual((record["traceId"], record["spanId"]), (self.trace, None))
        self.assertEqual((record["value"], record["weight"], record["metadata"]), (-7, 0.75, {"a": "b"}))

    def test_a_trace_shows_its_pairs(self):
        for value, weight in ((5, 1.0), (-1, 0.25), (0, 0.0)):
            self.create(value=value, weight=weight)
        listed(self.trace, 3)
        summary = get("/v1/feedback", trace_id=self.trace, limit=1).json()["summary"]
        self.assertEqual(summary["count"], 3)
        self.assertEqual(
            sorted((pair["value"], pair["weight"]) for pair in summary["pairs"]), [(-1, 0.25), (0, 0.0), (5, 1.0)]
        )


class SyncFeedback(Feedback, unittest.TestCase):
    kind = SyncClient


class AsyncFeedback(Feedback, unittest.TestCase):
    kind = AsyncClient


@contextlib.contextmanager
def gateway(status, headers=(), body=b""):
    """A server with the same response to everything. Yields its base URL and the requested paths."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"] or 0))
            asked.append(self.path)
            if status is None:
                # Closes the connection without a response.
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1", asked
        finally:
            server.shutdown()
            thread.join()


class Assumptions:
    """Behavior of the SDK that the service relies on."""

    kind = None

    def attempts(self, status, *headers):
        """Returns how often the SDK sends a create that gets this response."""
        error = b'{"error":{"message":"m"}}'
        with gateway(status, [("content-type", "application/json"), *headers], error) as (url, asked):
            client = self.kind(api_key="k", base_url=url)
            try:
                with self.assertRaises(exceptions.APIError):
                    client.call("create", trace_id="t", value=1)
            finally:
                client.close()
            return len(asked)

    def test_a_5xx_is_retried_once(self):
        for status in (500, 502, 503, 504):
            self.assertEqual(self.attempts(status), 2, status)

    def test_a_4xx_is_not_retried(self):
        for status in (400, 401, 403, 404, 409, 412, 413, 429):
            self.assertEqual(self.attempts(status, ("retry-after", "0")), 1, status)

    def test_a_5xx_with_a_trace_id_is_not_retried(self):
        for name in ("x-portkey-trace-id", "x-portkey-request-id", "x-portkey-gateway-exception"):
            self.assertEqual(self.attempts(500, (name, "1")), 1, name)

    def test_a_connection_closed_without_a_response_is_retried_once(self):
        # No header can prevent this retry. Only an Idempotency-Key keeps it from writing twice.
        self.assertEqual(self.attempts(None), 2)

    def test_success_must_be_an_object_with_a_content_type(self):
        json_type = ("content-type", "application/json")
        for status, headers, body in (
            (204, [], b""),
            (200, [], b'{"status":"success"}'),
            (200, [json_type], b"[]"),
            (200, [json_type], b""),
        ):
            with self.subTest(status=status, body=body), gateway(status, headers, body) as (url, _):
                client = self.kind(api_key="k", base_url=url)
                try:
                    with self.assertRaises(Exception):
                        client.call("create", trace_id="t", value=1)
                finally:
                    client.close()


class SyncAssumptions(Assumptions, unittest.TestCase):
    kind = SyncClient


class AsyncAssumptions(Assumptions, unittest.TestCase):
    kind = AsyncClient


if __name__ == "__main__":
    unittest.main()

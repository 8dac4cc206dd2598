"""TrueFoundry's documented calls, made with `requests` as documented, against a running server.

    HINDSIGHT_URL=http://127.0.0.1:8787 HINDSIGHT_KEY=hsk_… python -m unittest truefoundry_requests
"""

import base64
import json
import os
import re
import time
import unittest
import uuid

import requests

URL = os.environ["HINDSIGHT_URL"].rstrip("/")
KEY = os.environ["HINDSIGHT_KEY"]

PATH = f"{URL}/api/svc/v1/gateway-feedback"
HEADERS = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
SIMPLE_V7 = re.compile(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}")

# The target id in TrueFoundry's documentation, and its decoded members.
TARGET_ID = (
    "eyJzcGFuSWQiOiJhMmQ2Yjg4MmFhMTViZTU1IiwidHJhY2VJZCI6IjAxOWFiMmE5NmQ1MDcwN2ZhMzA5MGMxYjcyMDFkNWJkIn0="
)
TRACE_ID = "019ab2a96d50707fa3090c1b7201d5bd"
SPAN_ID = "a2d6b882aa15be55"


def encoded(**members):
    return base64.b64encode(json.dumps(members, separators=(",", ":")).encode()).decode()


class Feedback(unittest.TestCase):
    def setUp(self):
        self.trace = uuid.uuid4().hex
        self.span = uuid.uuid4().hex[:16]
        self.names = {"traceId": self.trace, "spanId": self.span, "tracingProjectFQN": "tenant:project:chat"}
        self.target_id = encoded(spanId=self.span, traceId=self.trace)
        self.by_id = {"type": "target-id", "feedbackTargetId": self.target_id}

    def send(self, method, path="", status=200, **options):
        """Sends a request, checks its status, and returns the JSON of the response."""
        response = requests.request(method, f"{PATH}{path}", **{"headers": HEADERS, "timeout": 20, **options})
        self.assertEqual(response.status_code, status, response.text)
        self.assertEqual(response.headers["content-type"], "application/json")
        return response.json()

    def create(self, target, **fields):
        data = self.send("POST", json={"target": target, "rating": 4, **fields})
        self.assertEqual(list(data), ["data"])
        self.assertEqual(list(data["data"]), ["id"])
        self.assertRegex(data["data"]["id"], SIMPLE_V7)
        return data["data"]["id"]

    def update(self, feedback_id, **body):
        self.assertEqual(self.send("PUT", f"/{feedback_id}", json=body), {"data": {"id": feedback_id}})

    def delete(self, feedback_id, **options):
        self.assertEqual(self.send("DELETE", f"/{feedback_id}", **options), {"data": {"id": feedback_id}})

    def stored(self, feedback_id):
        return self.send("GET", f"/{feedback_id}")["data"]

    def refused(self, method, path="", *, status=400, field=None, **options):
        """Checks the whole error body, and returns its message."""
        error = self.send(method, path, status, **options)
        self.assertEqual(list(error), ["statusCode", "message", "code", "details"])
        self.assertEqual(error["statusCode"], status)
        fields = [detail["field"] for detail in error["details"]]
        self.assertEqual(fields, [field] if field else [])
        return error["message"]

    def test_the_documents_three_calls(self):
        # Copied from the vendor's page, except for the base URL, the token and the id.
        response = requests.post(
            f"{URL}/api/svc/v1/gateway-feedback",
            headers={
                "Authorization": f"Bearer {KEY}",
                "Content-Type": "application/json"
            },
            json={
                "target": {
                  "type": "target-id", # Type of the target
                  "feedbackTargetId": "eyJzcGFuSWQiOiJhMmQ2Yjg4MmFhMTViZTU1IiwidHJhY2VJZCI6IjAxOWFiMmE5NmQ1MDcwN2ZhMzA5MGMxYjcyMDFkNWJkIn0="
                },
                "rating": 4,
                "comment": "Optional comment", # Optional
                "metadata": {"key": "value"} # Optional
            }
        )

        response.raise_for_status()
        data = response.json()
        feedback_id = data["data"]["id"]
        self.assertEqual(data, {"data": {"id": feedback_id}})
        self.assertRegex(feedback_id, SIMPLE_V7)
        record = self.stored(feedback_id)
        for moment in ("createdAt", "updatedAt"):
            self.assertRegex(record.pop(moment), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        self.assertEqual(
            record,
            {
                "id": feedback_id,
                "traceId": TRACE_ID,
                "spanId": SPAN_ID,
                "tracingProjectFQN": None,
                "feedbackTargetId": TARGET_ID,
                "scale": "rating",
                "value": None,
                "weight": None,
                "rating": 4,
                "comment": "Optional comment",
                "reasons": [],
                "metadata": {"key": "value"},
                # The public part of the key.
                "writtenBy": KEY[:20],
                "version": 1,
            },
        )

        response = requests.put(
            f"{URL}/api/svc/v1/gateway-feedback/{feedback_id}",
            headers={
                "Authorization": f"Bearer {KEY}",
                "Content-Type": "application/json"
            },
            json={
                "target": {
                  "type": "target-id", # Type of the target
                  "feedbackTargetId": "eyJzcGFuSWQiOiJhMmQ2Yjg4MmFhMTViZTU1IiwidHJhY2VJZCI6IjAxOWFiMmE5NmQ1MDcwN2ZhMzA5MGMxYjcyMDFkNWJkIn0="
                },
                "rating": 4,
                "comment": "Optional comment", # Optional
                "metadata": {"key": "value"} # Optional
            }
        )

        response.raise_for_status()
        data = response.json()
        self.assertEqual(data, {"data": {"id": feedback_id}})
        self.assertEqual(self.stored(feedback_id)["version"], 2)

        response = requests.delete(
            f"{URL}/api/svc/v1/gateway-feedback/{feedback_id}",
            headers={
                "Authorization": f"Bearer {KEY}",
                "Content-Type": "application/json"
            },
            json={
                "target": {
                  "type": "target-id", # Type of the target
                  "feedbackTargetId": "eyJzcGFuSWQiOiJhMmQ2Yjg4MmFhMTViZTU1IiwidHJhY2VJZCI6IjAxOWFiMmE5NmQ1MDcwN2ZhMzA5MGMxYjcyMDFkNWJkIn0="
                },
                "metadata": {"key": "value"} # Optional
            }
        )

        response.raise_for_status()
        data = response.json()
        self.assertEqual(data, {"data": {"id": feedback_id}})
        self.refused("GET", f"/{feedback_id}", status=404)

    def test_the_same_calls_by_trace_span_and_project(self):
        feedback_id = self.create(self.names, comment="first", metadata={"key": "value"})
        record = self.stored(feedback_id)
        self.assertEqual((record["traceId"], record["spanId"]), (self.trace, self.span))
        self.assertEqual(record["tracingProjectFQN"], "tenant:project:chat")
        self.assertEqual(record["feedbackTargetId"], self.target_id)
        self.update(feedback_id, target=self.names, rating=1, comment="second", metadata={"key": [2]})
        record = self.stored(feedback_id)
        self.assertEqual((record["rating"], record["comment"], record["metadata"]), (1, "second", {"key": [2]}))
        self.delete(feedback_id, json={"target": self.names, "metadata": {"key": "value"}})
        self.refused("GET", f"/{feedback_id}", status=404)

    def test_either_form_of_a_target_is_the_same_target(self):
        feedback_id = self.create(self.by_id)
        self.update(feedback_id, target={"traceId": self.trace, "spanId": self.span}, rating=2)
        self.assertEqual(self.stored(feedback_id)["rating"], 2)
        # By id only: without a body or content type.
        self.delete(feedback_id, headers={"Authorization": f"Bearer {KEY}"})
        self.refused("GET", f"/{feedback_id}", status=404)

    def test_both_forms_may_be_given_if_they_agree(self):
        self.create({**self.by_id, **self.names})
        body = {"target": {**self.by_id, "traceId": self.trace, "spanId": "another"}, "rating": 4}
        self.refused("POST", json=body, field="target.feedbackTargetId")

    def test_a_target_id_may_be_encoded_in_other_ways(self):
        # The question marks and tildes make a plus and a slash of standard base64.
        trace, span = f"{self.trace}~?~?>>", self.span
        text = json.dumps({"traceId": trace, "dataRoutingDestination": "eu", "spanId": span}, indent=1).encode()
        standard, url_safe = base64.b64encode(text).decode(), base64.urlsafe_b64encode(text).decode()
        self.assertNotEqual(standard, url_safe)
        for target_id in (standard, standard.rstrip("="), url_safe, url_safe.rstrip("=")):
            record = self.stored(self.create({"feedbackTargetId": target_id}))
            self.assertEqual((record["traceId"], record["spanId"]), (trace, span))
            self.assertEqual(record["feedbackTargetId"], encoded(spanId=span, traceId=trace))

    def test_a_span_s_feedback_is_listed_at_once(self):
        ids = [self.create(self.by_id), self.create(self.names)]
        self.create({"traceId": self.trace, "spanId": "another"})
        for query in ({"feedbackTargetId": self.target_id}, {"traceId": self.trace, "spanId": self.span}):
            page = self.send("GET", params=query)
            self.assertEqual(list(page), ["data", "pagination"])
            self.assertEqual([record["id"] for record in page["data"]], ids[::-1])
            self.assertEqual(page["pagination"], {"nextPageToken": None})

    def test_a_trace_s_feedback_is_listed_in_pages(self):
        ids = [self.create({"traceId": self.trace, "spanId": f"s{index}"}) for index in range(5)]
        until = time.monotonic() + 5
        while len(self.send("GET", params={"traceId": self.trace})["data"]) < 5 and time.monotonic() < until:
            time.sleep(0.05)
        for limit in (1, 2, 3, 5):
            seen, query = [], {"traceId": self.trace, "limit": limit}
            with self.subTest(limit=limit):
                while True:
                    page = self.send("GET", params=query)
                    self.assertLessEqual(len(page["data"]), limit)
                    seen += [record["id"] for record in page["data"]]
                    query["pageToken"] = page["pagination"]["nextPageToken"]
                    if query["pageToken"] is None:
                        break
                self.assertEqual(seen, ids[::-1])

    def test_every_rating_is_stored_as_it_is(self):
        for given, rating in ((1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (5.0, 5), ("3", 3)):
            with self.subTest(given=given):
                self.assertEqual(self.stored(self.create(self.by_id, rating=given))["rating"], rating)

    def test_an_update_keeps_what_it_leaves_out_and_clears_what_is_null(self):
        feedback_id = self.create(self.names, comment="c", metadata={"a": 1})
        self.update(feedback_id, comment="d")
        record = self.stored(feedback_id)
        self.assertEqual((record["rating"], record["comment"], record["metadata"]), (4, "d", {"a": 1}))
        self.update(feedback_id, metadata={"b": None})
        self.update(feedback_id, rating=5, comment=None)
        record = self.stored(feedback_id)
        self.assertEqual((record["rating"], record["comment"], record["metadata"]), (5, None, {"b": None}))
        self.update(feedback_id, metadata=None)
        record = self.stored(feedback_id)
        self.assertEqual((record["metadata"], record["version"]), (None, 5))
        self.assertEqual(record["tracingProjectFQN"], "tenant:project:chat")
        self.refused("PUT", f"/{feedback_id}", json={"target": self.names}, field="body")

    def test_another_target_is_not_found_and_changes_nothing(self):
        feedback_id = self.create(self.by_id, comment="kept")
        before = self.stored(feedback_id)
        for target in (
            {"traceId": self.trace, "spanId": "another"},
            {"traceId": "another", "spanId": self.span},
            {"feedbackTargetId": TARGET_ID},
        ):
            message = self.refused("PUT", f"/{feedback_id}", status=404, json={"target": target, "rating": 1})
            self.assertEqual(message, "no such feedback")
            self.refused("DELETE", f"/{feedback_id}", status=404, json={"target": target})
        self.assertEqual(self.stored(feedback_id), before)

    def test_deleted_feedback_is_not_found(self):
        feedback_id = self.create(self.by_id)
        self.delete(feedback_id, json={"target": self.by_id})
        self.refused("DELETE", f"/{feedback_id}", status=404)
        self.refused("PUT", f"/{feedback_id}", status=404, json={"target": self.by_id, "rating": 1})
        self.refused("GET", f"/{feedback_id}", status=404)
        self.assertEqual(self.send("GET", params={"feedbackTargetId": self.target_id})["data"], [])

    def test_an_id_may_be_written_in_other_ways(self):
        feedback_id = self.create(self.by_id)
        self.assertEqual(self.stored(feedback_id.upper())["id"], feedback_id)
        self.assertEqual(self.stored(str(uuid.UUID(feedback_id)))["id"], feedback_id)

    def test_a_fault_names_its_field(self):
        for body, field in (
            ({"rating": 4}, "target"),
            ({"target": {}, "rating": 4}, "target"),
            ({"target": "t", "rating": 4}, "target"),
            ({"target": {"traceId": "t"}, "rating": 4}, "target.spanId"),
            ({"target": {"spanId": "s"}, "rating": 4}, "target.traceId"),
            ({"target": {"traceId": "t" * 513, "spanId": "s"}, "rating": 4}, "target.traceId"),
            ({"target": {"traceId": "t", "spanId": "s" * 129}, "rating": 4}, "target.spanId"),
            ({"target": {"feedbackTargetId": "!"}, "rating": 4}, "target.feedbackTargetId"),
            ({"target": {"feedbackTargetId": encoded(traceId="t")}, "rating": 4}, "target.feedbackTargetId"),
            ({"target": self.by_id}, "rating"),
            ({"target": self.by_id, "rating": 0}, "rating"),
            ({"target": self.by_id, "rating": 6}, "rating"),
            ({"target": self.by_id, "rating": 4.5}, "rating"),
            ({"target": self.by_id, "rating": "four"}, "rating"),
            ({"target": self.by_id, "rating": None}, "rating"),
            ({"target": self.by_id, "rating": 4, "comment": 7}, "comment"),
            ({"target": self.by_id, "rating": 4, "metadata": "{}"}, "metadata"),
        ):
            with self.subTest(body=body):
                self.assertIn(field, self.refused("POST", json=body, field=field))
        self.refused("POST", data="{'rating': 4}", field="body")
        long = {"target": self.by_id, "rating": 4, "comment": "x" * 16_385}
        self.assertIn("16384", self.refused("POST", status=413, json=long, field="comment"))
        self.assertEqual(self.send("GET", params={"feedbackTargetId": self.target_id})["data"], [])

    def test_all_faults_are_reported_at_once(self):
        error = self.send("POST", status=400, json={"rating": 9, "comment": 1, "metadata": 2})
        self.assertEqual({detail["field"] for detail in error["details"]}, {"target", "rating", "comment", "metadata"})
        self.assertEqual((error["statusCode"], error["code"]), (400, "BAD_REQUEST"))

    def test_a_key_is_required(self):
        body = {"target": self.by_id, "rating": 4}
        for headers in ({}, {"Authorization": "Bearer YOUR_API_TOKEN"}, {"Authorization": KEY}):
            self.assertIn("API key", self.refused("POST", status=401, json=body, headers=headers))
        for headers in ({"x-portkey-api-key": KEY}, {"authorization": f"bearer {KEY}"}):
            self.send("POST", json=body, headers=headers)

    def test_the_other_dialect_sees_changes_and_deletes_it(self):
        feedback_id = self.create(self.names, comment="kept", metadata={"a": 1})
        hyphenated = str(uuid.UUID(feedback_id))
        portkey = f"{URL}/v1/feedback/{hyphenated}"
        record = requests.get(portkey, headers=HEADERS, timeout=20).json()
        self.assertEqual((record["id"], record["scale"], record["rating"]), (hyphenated, "rating", 4))
        self.assertEqual((record["span_id"], record["feedback_target_id"]), (self.span, self.target_id))
        requests.put(portkey, headers=HEADERS, json={"value": -2}, timeout=20).raise_for_status()
        record = self.stored(feedback_id)
        self.assertEqual((record["scale"], record["rating"]), ("value", None))
        self.assertEqual((record["value"], record["weight"], record["comment"]), (-2, 1.0, "kept"))
        self.update(feedback_id, rating=3)
        record = self.stored(feedback_id)
        self.assertEqual((record["scale"], record["rating"], record["value"]), ("rating", 3, None))
        requests.delete(portkey, headers=HEADERS, timeout=20).raise_for_status()
        self.refused("GET", f"/{feedback_id}", status=404)

    def test_an_idempotency_key_makes_a_repeat_one_write(self):
        headers = {**HEADERS, "Idempotency-Key": str(uuid.uuid4())}
        body = {"target": self.by_id, "rating": 4}
        first = self.send("POST", json=body, headers=headers)
        self.assertEqual(self.send("POST", json=body, headers=headers), first)
        self.refused("POST", status=409, json={**body, "rating": 5}, headers=headers)
        self.assertEqual(len(self.send("GET", params={"feedbackTargetId": self.target_id})["data"]), 1)


if __name__ == "__main__":
    unittest.main()

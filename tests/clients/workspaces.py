"""Two workspaces side by side on one server, with the released Portkey SDK for Python.

    HINDSIGHT_BIN=target/debug/hindsight python -m unittest workspaces

It takes a minute, which is how long a revoked key may stay cached.
"""

import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import unittest
import uuid

# In a developer's environment, this variable would replace the key that a test omits.
os.environ.pop("PORTKEY_API_KEY", None)

import requests
from portkey_ai import Portkey
from portkey_ai.api_resources import exceptions

from restart import BINARY, PATIENCE, Server, target_id

TRUEFOUNDRY = "/api/svc/v1/gateway-feedback"

# How long a revoked key may still be accepted, and the tolerance for a busy machine, in seconds.
CACHE_LIFETIME, TOLERANCE = 60, 5


class Key:
    """An API key, and requests that use it."""

    def __init__(self, workspace, name, scope):
        made = keys("create", "--workspace", workspace, "--name", name, "--scope", scope)
        self.id, self.text = made["id"], made["key"]
        self.workspace = workspace
        self.portkey = Portkey(base_url=f"{server.url}/v1", api_key=self.text)
        unittest.addModuleCleanup(self.portkey.close)

    def send(self, method, path, *, headers=None, **options):
        headers = {"Authorization": f"Bearer {self.text}", **(headers or {})}
        return requests.request(method, f"{server.url}{path}", headers=headers, timeout=20, **options)

    def get(self, path, **query):
        response = self.send("GET", path, params=query)
        assert response.status_code == 200, response.text
        return response.json()

    def create(self, trace, value=1, **fields):
        return self.portkey.feedback.create(trace_id=trace, value=value, **fields).feedback_ids[0]

    def rate(self, target, rating=4, **fields):
        response = self.send("POST", TRUEFOUNDRY, json={"target": target, "rating": rating, **fields})
        assert response.status_code == 200, response.text
        return response.json()["data"]["id"]

    def listed(self, expected, path="/v1/feedback", **query):
        """Returns the ids of a list, once there are as many as expected."""
        until = time.monotonic() + 5
        while True:
            ids = [record["id"] for record in self.get(path, **query)["data"]]
            if len(ids) == expected or time.monotonic() > until:
                return ids
            time.sleep(0.05)


def keys(action, *arguments):
    """Runs `hindsight keys` while the server runs, and returns its output."""
    command = [BINARY, "keys", action, "--data-dir", str(data), "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Leaver:
    """Records when a revoked key stops working."""

    def __init__(self):
        self.key = Key("acme", "leaver", "admin")
        self.key.create("leaver")
        self.shown = keys("revoke", self.key.id)
        self.revoked, self.stopped = time.monotonic(), None
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        while not self.over.wait(1) and time.monotonic() < self.revoked + CACHE_LIFETIME + TOLERANCE:
            if self.key.send("GET", "/v1/feedback").status_code == 401:
                self.stopped = time.monotonic()
                return


def setUpModule():
    global data, server, leaver, acme, acme_too, globex, globex_too
    directory = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(directory.cleanup)
    data = pathlib.Path(directory.name) / "data"
    server = Server(data)
    unittest.addModuleCleanup(server.close)
    # Started first, so that its minute passes during the other tests.
    leaver = Leaver()
    unittest.addModuleCleanup(leaver.thread.join)
    unittest.addModuleCleanup(leaver.over.set)
    acme, acme_too = (Key("acme", name, "admin") for name in ("web", "batch"))
    globex, globex_too = (Key("globex", name, "admin") for name in ("web", "batch"))


class Isolation(unittest.TestCase):
    """Neither workspace sees or changes the other's feedback, even with the same names."""

    def setUp(self):
        self.trace, self.span = uuid.uuid4().hex, uuid.uuid4().hex[:16]
        self.names = {"traceId": self.trace, "spanId": self.span}
        self.by_id = {"type": "target-id", "feedbackTargetId": target_id(self.trace, self.span)}

    def assert_alike(self, foreign, absent):
        """Another workspace's record must look like a missing one."""
        self.assertEqual(foreign.status_code, 404, foreign.text)
        self.assertEqual((foreign.status_code, foreign.json()), (absent.status_code, absent.json()))
        ignored = {"date", "x-request-id", "apigw-requestid"}
        self.assertEqual(
            {name: value for name, value in foreign.headers.items() if name not in ignored},
            {name: value for name, value in absent.headers.items() if name not in ignored},
        )

    def absent(self, like):
        """Returns an id of the same time that no record has."""
        return like[:-8] + uuid.uuid4().hex[:8]

    def test_both_keys_of_a_workspace_share_its_feedback(self):
        for one, other in ((acme, acme_too), (globex_too, globex)):
            feedback_id = one.create(self.trace, value=3)
            other.portkey.feedback.update(feedback_id=feedback_id, value=-3)
            self.assertEqual(one.get(f"/v1/feedback/{feedback_id}")["value"], -3)
            self.assertEqual(one.listed(1, trace_id=self.trace), [feedback_id])

    def test_the_sdk_cannot_change_what_is_not_its_workspaces(self):
        theirs, ours = acme.create(self.trace, value=1), globex.create(self.trace, value=2)
        with self.assertRaises(exceptions.NotFoundError):
            globex.portkey.feedback.update(feedback_id=theirs, value=-10)
        with self.assertRaises(exceptions.NotFoundError):
            acme.portkey.feedback.update(feedback_id=ours, value=-10)
        for key, feedback_id, value in ((acme, theirs, 1), (globex, ours, 2)):
            record = key.get(f"/v1/feedback/{feedback_id}")
            self.assertEqual((record["value"], record["version"]), (value, 1))

    def test_no_route_reaches_another_workspaces_record(self):
        theirs = acme.rate(self.by_id, comment="ours", metadata={"_user": "u"})
        # The other workspace has rated the same span, which is in the same partition.
        globex.rate(self.by_id)
        before = acme.get(f"{TRUEFOUNDRY}/{theirs}")
        absent = self.absent(theirs)
        for path, method, body in (
            ("/v1/feedback", "GET", None),
            ("/v1/feedback", "PUT", {"value": -1}),
            ("/v1/feedback", "DELETE", None),
            (TRUEFOUNDRY, "GET", None),
            (TRUEFOUNDRY, "PUT", {"rating": 1}),
            (TRUEFOUNDRY, "PUT", {"rating": 1, "target": self.names}),
            (TRUEFOUNDRY, "PUT", {"rating": 1, "target": self.by_id}),
            (TRUEFOUNDRY, "DELETE", None),
            (TRUEFOUNDRY, "DELETE", {"target": self.names}),
            (TRUEFOUNDRY, "DELETE", {"target": self.by_id}),
        ):
            for headers in ({}, {"If-Match": '"1"'}, {"Idempotency-Key": uuid.uuid4().hex}):
                if headers and method == "GET":
                    continue
                with self.subTest(path=path, method=method, body=body, headers=list(headers)):
                    foreign, never = (
                        globex.send(method, f"{path}/{feedback_id}", json=body, headers=headers)
                        for feedback_id in (theirs, absent)
                    )
                    self.assert_alike(foreign, never)
        body = {"value": -1, "feedback_id": theirs}
        self.assert_alike(
            globex.send("PUT", "/v1/feedback/undefined", json=body),
            globex.send("PUT", "/v1/feedback/undefined", json={**body, "feedback_id": absent}),
        )
        self.assertEqual(acme.get(f"{TRUEFOUNDRY}/{theirs}"), before)

    def test_no_list_shows_another_workspaces_records(self):
        four = {"_user": f"u-{self.trace}", "_organisation": "o", "_prompt": "p", "_environment": "e"}
        ids = {}
        for key in (acme, globex):
            hexadecimal = [key.rate(self.by_id, metadata=four), key.rate(self.names, metadata=four)]
            ids[key] = [str(uuid.UUID(feedback_id)) for feedback_id in hexadecimal]
            ids[key].append(key.create(self.trace, metadata=four))
        for key in (acme, globex):
            newest_first = ids[key][::-1]
            for expected, query in (
                (newest_first, {"trace_id": self.trace}),
                (newest_first[1:], {"trace_id": self.trace, "span_id": self.span}),
                (newest_first, {"user": four["_user"]}),
            ):
                with self.subTest(workspace=key.workspace, query=query):
                    self.assertEqual(key.listed(len(expected), **query), expected)
            self.assertEqual(key.get("/v1/feedback", trace_id=self.trace)["summary"]["count"], 3)
            others = set(ids[globex if key is acme else acme])
            for query in ({}, {"organisation": "o"}, {"prompt": "p"}, {"environment": "e"}):
                with self.subTest(workspace=key.workspace, query=query):
                    seen = set(self.all(key, **query))
                    self.assertLessEqual(set(newest_first), seen)
                    self.assertFalse(seen & others)
            simple = [feedback_id.replace("-", "") for feedback_id in newest_first]
            for expected, query in (
                (simple, {"traceId": self.trace}),
                (simple[1:], self.names),
                (simple[1:], {"feedbackTargetId": self.by_id["feedbackTargetId"]}),
            ):
                with self.subTest(workspace=key.workspace, query=query):
                    self.assertEqual(key.listed(len(expected), TRUEFOUNDRY, **query), expected)

    def all(self, key, **query):
        """Returns the ids on all pages."""
        cursor = {}
        while cursor is not None:
            page = key.get("/v1/feedback", limit=100, **query, **cursor)
            yield from (record["id"] for record in page["data"])
            cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else None

    def test_another_workspaces_cursor_shows_nothing_of_it(self):
        theirs = [acme.create(self.trace, value=index) for index in range(6)]
        ours = [globex.create(self.trace, value=-index) for index in range(6)]
        for key, ids in ((acme, theirs), (globex, ours)):
            key.listed(6, trace_id=self.trace)
        query = {"trace_id": self.trace, "limit": 3, "order": "asc"}
        cursor = acme.get("/v1/feedback", **query)["next_cursor"]
        page = acme.get("/v1/feedback", **query, cursor=cursor)
        self.assertEqual([record["id"] for record in page["data"]], theirs[3:])
        page = globex.get("/v1/feedback", **query, cursor=cursor)
        self.assertEqual([record["id"] for record in page["data"]], ours[:3])
        token = acme.get(TRUEFOUNDRY, traceId=self.trace, limit=3)["pagination"]["nextPageToken"]
        page = globex.get(TRUEFOUNDRY, traceId=self.trace, limit=100, pageToken=token)
        self.assertEqual(page["data"], [])

    def test_an_idempotency_key_is_each_workspaces_own(self):
        text = uuid.uuid4().hex
        forwarded = {"idempotency_key": text, "forward_headers": ["idempotency_key"]}
        clients = {
            key: Portkey(base_url=f"{server.url}/v1", api_key=key.text, **forwarded)
            for key in (acme, globex, acme_too, globex_too)
        }
        for client in clients.values():
            self.addCleanup(client.close)
        first = {key: clients[key].feedback.create(trace_id=self.trace, value=1) for key in (acme, globex)}
        self.assertNotEqual(first[acme].feedback_ids, first[globex].feedback_ids)
        # It belongs to the workspace, not to the key.
        for key, other in ((acme, acme_too), (globex, globex_too)):
            again = clients[other].feedback.create(trace_id=self.trace, value=1)
            self.assertEqual(again.feedback_ids, first[key].feedback_ids)
            self.assertEqual(key.listed(1, trace_id=self.trace), first[key].feedback_ids)
            with self.assertRaises(exceptions.ConflictError):
                clients[other].feedback.create(trace_id=self.trace, value=2)

    def test_the_portkey_header_determines_the_workspace(self):
        # A provider's key in Authorization is ignored if x-portkey-api-key is present.
        headers = {"x-portkey-api-key": globex.text}
        answer = acme.send("POST", "/v1/feedback", json={"trace_id": self.trace, "value": 1}, headers=headers)
        feedback_id = answer.json()["feedback_ids"][0]
        self.assertEqual(globex.get(f"/v1/feedback/{feedback_id}")["value"], 1)
        self.assertEqual(acme.send("GET", f"/v1/feedback/{feedback_id}").status_code, 404)

    def test_a_deletion_leaves_the_other_workspaces_alone(self):
        theirs, ours = acme.rate(self.by_id), globex.rate(self.by_id)
        self.assertEqual(globex.send("DELETE", f"{TRUEFOUNDRY}/{ours}", json={"target": self.by_id}).status_code, 200)
        self.assertEqual(globex.get(TRUEFOUNDRY, **self.names)["data"], [])
        self.assertEqual([record["id"] for record in acme.get(TRUEFOUNDRY, **self.names)["data"]], [theirs])

    def test_both_write_at_once(self):
        made = {key: [] for key in (acme, acme_too, globex, globex_too)}

        def write(key):
            for index in range(25):
                made[key].append(key.create(self.trace, value=index % 21 - 10, metadata={"by": key.workspace}))

        threads = [threading.Thread(target=write, args=(key,)) for key in made]
        for thread in threads:
            thread.start()
        # Another process creates keys in the same database at the same time.
        late = [Key(workspace, "late", "admin") for workspace in ("acme", "globex")]
        for thread in threads:
            thread.join()
        for key, pair in zip(late, ((acme, acme_too), (globex, globex_too))):
            expected = sorted(feedback_id for one in pair for feedback_id in made[one])
            self.assertEqual(len(expected), 50)
            self.assertEqual(sorted(key.listed(50, trace_id=self.trace, limit=100)), expected)
            page = key.get("/v1/feedback", trace_id=self.trace, limit=100)
            self.assertEqual({record["metadata"]["by"] for record in page["data"]}, {key.workspace})


class KeyScopes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.writer = Key("acme", "writer", "write")
        cls.reader = Key("acme", "reader", "read")

    def assert_refused(self, response, dialect, needs):
        self.assertEqual(response.status_code, 403, response.text)
        error = response.json()
        self.assertIn(needs, error["message"])
        if dialect == TRUEFOUNDRY:
            self.assertEqual((error["statusCode"], error["code"]), (403, "FORBIDDEN"))
        else:
            self.assertEqual(error["error"]["code"], "AB03")

    def test_a_key_that_only_writes_cannot_read(self):
        trace, span = uuid.uuid4().hex, "s"
        target = {"traceId": trace, "spanId": span}
        feedback_id = self.writer.create(trace)
        self.writer.portkey.feedback.update(feedback_id=feedback_id, value=2)
        rating_id = self.writer.rate(target)
        for path, query in (
            (f"/v1/feedback/{feedback_id}", {}),
            ("/v1/feedback", {"trace_id": trace}),
            (f"{TRUEFOUNDRY}/{rating_id}", {}),
            (TRUEFOUNDRY, target),
        ):
            response = self.writer.send("GET", path, params=query)
            self.assert_refused(response, TRUEFOUNDRY if path.startswith("/api") else None, "read")
            self.assertNotIn(trace, response.text)
        self.assertEqual(self.writer.send("DELETE", f"/v1/feedback/{feedback_id}").status_code, 200)
        self.assertEqual(self.writer.send("DELETE", f"{TRUEFOUNDRY}/{rating_id}").status_code, 200)

    def test_a_key_that_only_reads_cannot_write(self):
        trace = uuid.uuid4().hex
        feedback_id = acme.create(trace)
        with self.assertRaises(exceptions.PermissionDeniedError) as raised:
            self.reader.create(trace)
        self.assertRegex(raised.exception.message, "^Error code: 403 - .*write")
        with self.assertRaises(exceptions.PermissionDeniedError):
            self.reader.portkey.feedback.update(feedback_id=feedback_id, value=2)
        target = {"traceId": trace, "spanId": "s"}
        for method, path, body in (
            ("POST", "/v1/feedback", {"trace_id": trace, "value": 1}),
            ("PUT", f"/v1/feedback/{feedback_id}", {"value": 2}),
            ("DELETE", f"/v1/feedback/{feedback_id}", None),
            ("POST", TRUEFOUNDRY, {"target": target, "rating": 1}),
            ("PUT", f"{TRUEFOUNDRY}/{feedback_id}", {"rating": 1}),
            ("DELETE", f"{TRUEFOUNDRY}/{feedback_id}", None),
        ):
            response = self.reader.send(method, path, json=body)
            self.assert_refused(response, TRUEFOUNDRY if path.startswith("/api") else None, "write")
        record = self.reader.get(f"/v1/feedback/{feedback_id}")
        self.assertEqual((record["value"], record["version"]), (1, 1))
        self.assertEqual(self.reader.listed(1, trace_id=trace), [feedback_id])

    def test_scopes_may_be_combined(self):
        key = Key("acme", "both", "read,write")
        trace = uuid.uuid4().hex
        feedback_id = key.create(trace)
        self.assertEqual(key.get(f"/v1/feedback/{feedback_id}")["trace_id"], trace)

    def test_keys_are_listed_without_their_secrets(self):
        shown = {key["id"]: key for key in keys("list", "--workspace", "acme")}
        self.assertNotIn(globex.id, shown)
        self.assertEqual(shown[acme.id]["scopes"], ["admin"])
        self.assertEqual(shown[self.reader.id]["scopes"], ["read"])
        self.assertEqual((shown[acme.id]["name"], shown[acme.id]["state"]), ("web", "valid"))
        self.assertNotIn(acme.text.split("_")[2][:32], json.dumps(shown))

    def test_a_key_that_expires_in_a_minute_works(self):
        made = keys("create", "--workspace", "acme", "--name", "brief", "--scope", "read", "--expires", "1m")
        self.assertIsNotNone(made["expires_at"])
        response = requests.get(f"{server.url}/v1/feedback", headers={"x-portkey-api-key": made["key"]}, timeout=20)
        self.assertEqual(response.status_code, 200)


class Revocation(unittest.TestCase):
    """Runs last because of its name, when most of the minute has passed."""

    def test_a_revoked_key_stops_within_a_minute(self):
        leaver.thread.join(CACHE_LIFETIME + TOLERANCE + PATIENCE)
        self.assertEqual(leaver.shown["state"], "revoked")
        self.assertIsNotNone(leaver.stopped, "the key was still let in")
        self.assertLessEqual(leaver.stopped - leaver.revoked, CACHE_LIFETIME + TOLERANCE)
        with self.assertRaises(exceptions.AuthenticationError):
            leaver.key.create("leaver")
        # The workspace's other keys and the key's feedback are unchanged.
        self.assertEqual(len(acme.listed(1, trace_id="leaver")), 1)
        state = {key["id"]: key["state"] for key in keys("list")}
        self.assertEqual((state[leaver.key.id], state[acme.id]), ("revoked", "valid"))


if __name__ == "__main__":
    unittest.main()

"""The examples in Python, against a server that keeps what it gets.

    pip install -r examples/requirements.txt
    python -m unittest discover --start-directory examples

An example whose package is not installed is skipped.
"""

import asyncio
import importlib.util
import json
import os
import pathlib
import sys
import tempfile
import threading
import unittest
import urllib.error
from http.server import BaseHTTPRequestHandler, HTTPServer

HERE = pathlib.Path(__file__).parent


def load(path):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def installed(name):
    return importlib.util.find_spec(name) is not None


class Received(BaseHTTPRequestHandler):
    """Answers a create as the service does, and keeps it in the server's `requests`."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((self.path, dict(self.headers.items()), body))
        answer = json.dumps({"status": "success", "feedback_ids": ["an-id"]}).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Examples(unittest.TestCase):
    def setUp(self):
        self.server = HTTPServer(("127.0.0.1", 0), Received)
        self.server.requests = []
        self.server.status = 200
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        os.environ["HINDSIGHT_URL"] = f"http://127.0.0.1:{self.server.server_address[1]}"
        os.environ["HINDSIGHT_KEY"] = "hsk_test"

    def one(self):
        """Path, headers in lower case and body of the only request."""
        ((path, headers, body),) = self.server.requests
        return path, {name.lower(): value for name, value in headers.items()}, body

    def test_a_signal_is_a_light_vote_of_its_own_name(self):
        signals = load(HERE / "signals" / "signals.py")
        self.assertEqual(signals.signal("copied", trace="t-1", person="ada"), "an-id")
        path, headers, body = self.one()
        self.assertEqual(path, "/v1/feedback")
        self.assertEqual(headers["x-portkey-api-key"], "hsk_test")
        self.assertEqual(headers["x-hindsight-upsert"], "user")
        expected = {"trace_id": "t-1", "value": 1, "weight": 0.2, "metadata": {"_user": "ada", "_name": "copied"}}
        self.assertEqual(body, expected)

    def test_no_signal_outweighs_a_thumb(self):
        for name, (value, weight) in load(HERE / "signals" / "signals.py").SIGNALS.items():
            with self.subTest(name):
                self.assertIn(value, (-1, 1))
                self.assertTrue(0 < weight < 1)

    def test_a_signal_that_is_unknown_or_refused_raises(self):
        signals = load(HERE / "signals" / "signals.py")
        with self.assertRaises(KeyError):
            signals.signal("frowned", trace="t-1", person="ada")
        self.assertEqual(self.server.requests, [])
        self.server.status = 403
        with self.assertRaises(urllib.error.HTTPError):
            signals.signal("copied", trace="t-1", person="ada")

    @unittest.skipUnless(installed("chainlit"), "chainlit is not installed")
    def test_chainlits_thumbs_are_upserted_votes(self):
        with tempfile.TemporaryDirectory() as folder:
            # Chainlit writes its configuration where it is started.
            os.environ["CHAINLIT_APP_ROOT"] = folder
            load(HERE / "chainlit" / "app.py")
            from chainlit.config import config
            from chainlit.context import init_http_context
            from chainlit.types import Feedback
            from chainlit.user import PersistedUser

            ada = PersistedUser(id="1", createdAt="2026-01-01T00:00:00Z", identifier="ada")

            async def press(user, feedback):
                init_http_context(user=user)
                await config.code.on_feedback(feedback)

            asyncio.run(press(ada, Feedback(forId="m-1", value=0, threadId="t-1", comment="No.")))
            path, headers, body = self.one()
            self.assertEqual(path, "/v1/feedback")
            self.assertEqual(headers["x-portkey-api-key"], "hsk_test")
            self.assertEqual(headers["x-hindsight-upsert"], "user")
            expected = {"trace_id": "m-1", "value": -1, "metadata": {"_user": "ada", "_session": "t-1"}, "comment": "No."}
            self.assertEqual(body, expected)
            self.server.requests.clear()
            asyncio.run(press(None, Feedback(forId="m-1", value=1, threadId="t-1")))
            _, _, body = self.one()
            self.assertEqual(body["value"], 1)
            self.assertEqual(body["metadata"]["_user"], "thread-t-1")
            self.assertNotIn("comment", body)


if __name__ == "__main__":
    sys.exit(unittest.main())

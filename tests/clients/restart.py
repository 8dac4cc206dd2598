"""The server's data directory: what survives a kill or a stop, and when a start fails.

    HINDSIGHT_BIN=target/debug/hindsight python -m unittest restart
"""

import atexit
import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import time
import unittest
import uuid

import requests

BINARY = str(pathlib.Path(os.environ["HINDSIGHT_BIN"]).resolve())

# The maximum time for a start or stop on a busy machine, in seconds.
PATIENCE = 30

# Stops the servers if the run is stopped from outside.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def target_id(trace, span):
    """Encodes TrueFoundry's target id of a span."""
    return base64.b64encode(json.dumps({"spanId": span, "traceId": trace}).encode()).decode()


class Server:
    """A server on a data directory and a free port."""

    def __init__(self, data_dir, *arguments):
        # Not a pipe: the log would fill it up if nobody reads it, and block the server.
        self.output = tempfile.TemporaryFile("w+", errors="replace")
        command = [BINARY, "--data-dir", str(data_dir), "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stdout=self.output, stderr=subprocess.STDOUT)
        atexit.register(self.close)
        try:
            self.url, self.key = self.greeting()
        except BaseException:
            self.close()
            raise

    def greeting(self):
        """Waits for the server to print its base URL and key."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            said = self.said()
            url, key = re.search(r"^Hindsight is listening on (http://\S+)$", said, re.M), None
            if url and (key := re.search(r"^API key +(hsk_\w+)$", said, re.M)):
                return url[1], key[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"the server did not start:\n{self.said()}")

    def said(self):
        self.output.seek(0)
        return self.output.read()

    def kill(self):
        """Kills the server without a warning, like a power cut."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self):
        """Stops the server, and returns its exit status and the seconds that it took."""
        asked = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE), time.monotonic() - asked

    def close(self):
        atexit.unregister(self.close)
        if self.process.poll() is None:
            self.kill()
        self.output.close()

    def send(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return requests.request(method, f"{self.url}{path}", headers=headers, timeout=20, **options)


class Directory(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = pathlib.Path(directory.name)
        self.data = self.home / "data"

    def start(self, *arguments):
        server = Server(self.data, *arguments)
        self.addCleanup(server.close)
        return server


class Restart(Directory):
    def test_feedback_survives_a_kill_and_a_stop(self):
        trace, span = uuid.uuid4().hex, uuid.uuid4().hex[:16]
        path = "/api/svc/v1/gateway-feedback"

        server = self.start()
        key = server.key
        by_id = {"type": "target-id", "feedbackTargetId": target_id(trace, span)}
        answer = server.send("POST", path, json={"target": by_id, "rating": 4, "comment": "stays"})
        self.assertEqual(answer.status_code, 200, answer.text)
        answer = server.send("POST", path, json={"target": by_id, "rating": 2, "metadata": {"_user": "u"}})
        self.assertEqual(answer.status_code, 200, answer.text)
        feedback_id = answer.json()["data"]["id"]
        # The response is the promise, so the server is killed right after it.
        server.kill()

        server = self.start()
        self.assertEqual(server.key, key)
        by_names = {"traceId": trace, "spanId": span}
        answer = server.send("PUT", f"{path}/{feedback_id}", json={"target": by_names, "rating": 5})
        self.assertEqual((answer.status_code, answer.json()), (200, {"data": {"id": feedback_id}}))
        status, seconds = server.stop()
        self.assertEqual(status, 0, server.said())
        self.assertLess(seconds, 5)

        server = self.start()
        self.assertEqual(server.key, key)
        record = server.send("GET", f"{path}/{feedback_id}").json()["data"]
        self.assertEqual((record["rating"], record["metadata"], record["version"]), (5, {"_user": "u"}, 2))
        answer = server.send("DELETE", f"{path}/{feedback_id}")
        self.assertEqual((answer.status_code, answer.json()), (200, {"data": {"id": feedback_id}}))
        server.kill()

        server = self.start()
        for gone in (f"{path}/{feedback_id}", f"/v1/feedback/{feedback_id}"):
            self.assertEqual(server.send("GET", gone).status_code, 404)
        listed = server.send("GET", path, params={"traceId": trace, "spanId": span}).json()["data"]
        self.assertEqual([(record["rating"], record["comment"]) for record in listed], [(4, "stays")])

    def test_every_acknowledged_write_survives_a_kill(self):
        server = self.start()
        ids = []
        for index in range(50):
            answer = server.send("POST", "/v1/feedback", json={"trace_id": "t", "value": index % 21 - 10})
            ids += answer.json()["feedback_ids"]
        server.kill()
        server = self.start()
        page = server.send("GET", "/v1/feedback", params={"trace_id": "t", "limit": 100, "order": "asc"}).json()
        self.assertEqual([record["id"] for record in page["data"]], ids)

    def test_an_idempotency_key_survives_a_kill(self):
        request = {"json": {"trace_id": "t", "value": 1}, "headers": {"Idempotency-Key": "once"}}
        server = self.start()
        first = server.send("POST", "/v1/feedback", **request).json()
        server.kill()
        server = self.start()
        self.assertEqual(server.send("POST", "/v1/feedback", **request).json(), first)

    def test_a_connection_that_is_held_open_does_not_hold_up_a_stop(self):
        server = self.start()
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as half, requests.Session() as idle:
            half.sendall(b"POST /v1/feedback HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
            idle.get(f"{server.url}/v1/feedback", headers={"x-portkey-api-key": server.key}, timeout=20)
            status, seconds = server.stop()
        self.assertEqual(status, 0, server.said())
        self.assertLess(seconds, 5)

    def test_writes_fail_after_the_data_directory_is_deleted(self):
        server = self.start()
        vote = {"trace_id": "t", "value": 1}
        self.assertEqual(server.send("POST", "/v1/feedback", json=vote).status_code, 200)
        shutil.rmtree(self.data)
        self.assertEqual(server.send("POST", "/v1/feedback", json=vote).status_code, 503)
        self.assertEqual(len(server.send("GET", "/v1/feedback", params={"trace_id": "t"}).json()["data"]), 1)
        self.assertEqual(server.stop()[0], 0, server.said())
        self.assertIn(f"the database {self.data}/hindsight.db was deleted", server.said())
        self.assertFalse(self.data.exists())

    def test_the_key_is_kept_for_its_owner_alone(self):
        server = self.start()
        file = self.data / "api-key"
        self.assertEqual(file.read_text(), f"{server.key}\n")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.data.stat().st_mode), 0o700)
        server.stop()
        self.assertEqual(self.start().key, server.key)
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)

    def test_an_invalid_key_is_replaced(self):
        other = Server(self.home / "other")
        self.addCleanup(other.close)
        other.stop()
        server = self.start()
        server.stop()
        revoked = server.key
        command = [BINARY, "keys", "revoke", "_".join(revoked.split("_")[:2]), "--data-dir", str(self.data)]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        file = self.data / "api-key"
        for name, text in (("revoked", revoked), ("gone", None), ("empty", ""), ("another's", other.key)):
            with self.subTest(name):
                file.unlink() if text is None else file.write_text(text)
                server = self.start()
                self.assertNotIn(server.key, (revoked, other.key))
                self.assertEqual(file.read_text(), f"{server.key}\n")
                self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
                self.assertEqual(server.send("GET", "/v1/feedback").status_code, 200)
                server.stop()

    def test_the_key_may_be_kept_elsewhere(self):
        file = self.home / "key"
        server = self.start("--api-key-file", str(file))
        self.assertEqual(file.read_text(), f"{server.key}\n")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertFalse((self.data / "api-key").exists())


class Refusals(Directory):
    """A start that fails exits with 1 and prints one line with the reason."""

    def refused(self, *arguments, port=0):
        command = [BINARY, "--data-dir", str(self.data), "--port", str(port), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Ahindsight: [^\n]+\n\Z")
        return done.stderr

    def test_a_second_server_on_the_same_directory(self):
        server = self.start()
        said = self.refused()
        self.assertIn(str(self.data), said)
        self.assertIn("another server", said)
        # The first server still works.
        answer = server.send("POST", "/v1/feedback", json={"trace_id": "t", "value": 1})
        self.assertEqual(answer.status_code, 200)

    def test_a_port_that_is_taken(self):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
            port = taken.getsockname()[1]
            said = self.refused(port=port)
        self.assertIn(f"127.0.0.1:{port} is in use", said)
        self.assertIn("--port", said)
        self.assertNotIn("os error", said)
        self.assertFalse(self.data.exists())

    def test_a_data_directory_that_is_a_file(self):
        self.data.write_text("a file")
        self.assertIn(str(self.data), self.refused())
        self.assertEqual(self.data.read_text(), "a file")

    def test_a_data_directory_below_a_file(self):
        (self.home / "file").write_text("a file")
        self.data = self.home / "file" / "data"
        self.assertIn(str(self.data), self.refused())

    def test_a_data_directory_where_nobody_may_write(self):
        # Not even root may write here, so any user can run the test.
        self.data = pathlib.Path("/proc/hindsight")
        self.assertIn(str(self.data), self.refused())

    def test_a_key_file_that_cannot_be_written(self):
        file = self.home / "nowhere" / "key"
        self.assertIn(str(file), self.refused("--api-key-file", str(file)))

    def test_a_key_file_that_holds_something_else(self):
        file = self.home / "notes"
        file.write_text("not a key\n")
        self.assertIn(str(file), self.refused("--api-key-file", str(file)))
        self.assertEqual(file.read_text(), "not a key\n")

    def test_a_damaged_database(self):
        self.start().stop()
        file = self.data / "hindsight.db"
        # The next start would read what is left in the write-ahead log.
        connection = sqlite3.connect(file)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        for beside in self.data.glob("hindsight.db-*"):
            beside.unlink()
        whole = file.read_bytes()
        for name, damaged in (
            ("garbage", bytes(range(256)) * 64),
            ("text", b"this is not a database\n" * 400),
            ("garbage after the first page", whole[:4096] + b"\xa5" * (len(whole) - 4096)),
            ("cut short", whole[: len(whole) // 2]),
        ):
            with self.subTest(name):
                file.write_bytes(damaged)
                self.assertIn(str(file), self.refused())
                # A damaged database may be the only copy of somebody's data.
                self.assertEqual(file.read_bytes(), damaged)


if __name__ == "__main__":
    unittest.main()

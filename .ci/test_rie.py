"""One function under AWS's own Runtime API: the Runtime Interface Emulator that the SAM CLI brings.

    HINDSIGHT_BIN=target/debug/hindsight CREATE_BIN=target/debug/create python -m unittest test_rie

The emulator is what a container image of Lambda's has in the place of Lambda.
"""

import importlib.util
import json
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

# What a start or an answer may take on a busy machine, in seconds.
PATIENCE = 60

ARCHITECTURE = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x86_64")

# So that a run that is ended from outside ends what it has started.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def path(variable):
    return str(pathlib.Path(os.environ[variable]).resolve())


def free_port():
    """A port that nobody listens on. Should somebody take it first, the emulator does not start."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A process in a group of its own, which ends as a whole; the emulator's holds the function."""

    def __init__(self, *command, env=None):
        # Not a pipe: one that nobody reads would fill up, and block the process.
        self.output = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(
            command, env=env, stdout=self.output, stderr=subprocess.STDOUT, start_new_session=True
        )

    def said(self):
        self.output.seek(0)
        return self.output.read()

    def until(self, is_so):
        """What `is_so` returns, once that is something."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            if found := is_so():
                return found
            time.sleep(0.05)
        raise AssertionError(f"it did not start:\n{self.said()}")

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.output.close()


class Emulator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server = Process(path("HINDSIGHT_BIN"), "--memory", "--port", "0", "--dynamodb-port", "0")
        cls.addClassCleanup(server.end)
        greeting = r"^API key +(hsk_\w+)\nDynamoDB endpoint +(http://\S+)$"
        cls.key, endpoint = server.until(lambda: re.search(greeting, server.said(), re.M)).groups()
        port, runtime = free_port(), free_port()
        cls.url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        package = pathlib.Path(importlib.util.find_spec("samcli").origin).parent
        cls.emulator = Process(
            str(package / f"local/rapid/aws-lambda-rie-{ARCHITECTURE}"),
            *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
            *("--runtime-api-address", f"127.0.0.1:{runtime}"),
            path("CREATE_BIN"),
            env={
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "local",
                "AWS_SECRET_ACCESS_KEY": "local",
                "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
                "FEEDBACK_TABLE": "feedback",
                "IDEMPOTENCY_TABLE": "idempotency",
                "API_KEYS_TABLE": "api-keys",
            },
        )
        cls.addClassCleanup(cls.emulator.end)

        def listens():
            with socket.socket() as connection:
                return connection.connect_ex(("127.0.0.1", port)) == 0

        cls.emulator.until(listens)

    def invoke(self, event):
        """What the function answers, through the emulator."""
        request = urllib.request.Request(self.url, json.dumps(event).encode())
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def create(self, body):
        """Status and body of the answer to a POST through API Gateway."""
        key, path = "POST /v1/feedback", "/v1/feedback"
        http = {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}
        answer = self.invoke(
            {
                "version": "2.0",
                "routeKey": key,
                "rawPath": path,
                "rawQueryString": "",
                "headers": {"content-type": "application/json", "x-portkey-api-key": self.key},
                "requestContext": {
                    "http": http,
                    "requestId": "JKJaXmPLvHcESHA=",
                    "routeKey": key,
                    "stage": "$default",
                },
                "body": body,
                "isBase64Encoded": False,
            }
        )
        self.assertEqual(answer["headers"]["x-request-id"], "JKJaXmPLvHcESHA=", self.emulator.said())
        return answer["statusCode"], json.loads(answer["body"])

    def test_a_vote_is_written(self):
        status, body = self.create('{"trace_id": "t", "value": 1}')
        self.assertEqual((status, body["status"]), (200, "success"))
        self.assertRegex(body["feedback_ids"][0], r"^[0-9a-f-]{36}$")

    def test_what_is_malformed_is_refused_and_the_function_goes_on(self):
        for body in ("{", '{"trace_id": "t", "value": 11}'):
            status, answer = self.create(body)
            self.assertEqual((status, answer["status"]), (400, "failure"))
        # What holds no request is a ping.
        answer = self.invoke({"not": "an event"})
        self.assertEqual((answer["statusCode"], json.loads(answer["body"])["message"]), (200, "no request in the event"))
        self.assertEqual(self.create('{"trace_id": "t", "value": 1}')[0], 200)


if __name__ == "__main__":
    unittest.main()

"""What `publish` sends to another's EventBridge: moto's server, which was written by others than this project.

    python .ci/forwarding.py > target/patterns.json
    HINDSIGHT_PROCESSES=target/debug/processes WEBHOOK_PATTERNS=target/patterns.json python -m unittest eventbridge

The functions run as processes of their own, `publish` with the SDK that is deployed. A rule of moto's bus sends each
event to a queue of moto's SQS, from where it is read. Rules with the event patterns of template.yaml, one for each
WebhookFilter, have a queue each. It needs `.ci/requirements-moto.txt`.
"""

import datetime
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import boto3
import requests

from events import PATIENCE, fold, listed

# The event pattern of each WebhookFilter.
PATTERNS = json.loads(pathlib.Path(os.environ["WEBHOOK_PATTERNS"]).read_text())
PROCESSES = str(pathlib.Path(os.environ["HINDSIGHT_PROCESSES"]).resolve())

# Stops the servers if the run is stopped from outside.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def started(case, command, pattern):
    """Starts a command that lives as long as a test, and returns what the pattern's group finds in its output."""
    output = tempfile.TemporaryFile("w+", errors="replace")
    process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    case.addCleanup(output.close)
    case.addCleanup(process.wait)
    case.addCleanup(process.kill)
    until = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < until and process.poll() is None:
        output.seek(0)
        if found := re.search(pattern, output.read()):
            return found[1]
        time.sleep(0.05)
    output.seek(0)
    raise AssertionError(f"{command[0]} did not start:\n{output.read()}")


class EventBridge(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        moto = str(pathlib.Path(sys.executable).parent / "moto_server")
        endpoint = started(self, [moto, "-H", "127.0.0.1", "-p", "0"], r"Running on (http://127\.0\.0\.1:\d+)")
        options = {
            "endpoint_url": endpoint,
            "region_name": "us-east-1",
            "aws_access_key_id": "local",
            "aws_secret_access_key": "local",
        }
        self.bridge, self.sqs = boto3.client("events", **options), boto3.client("sqs", **options)
        self.bridge.create_event_bus(Name="feedback")
        # The pattern of docs/events.md.
        self.queue = self.queue_of("received", {"source": ["hindsight"]})
        key = pathlib.Path(directory.name) / "key"
        command = [PROCESSES, "--api-key-file", str(key), "--eventbridge-endpoint", endpoint]
        self.url = started(self, command, r"Hindsight is listening on (http://\S+)")
        self.key = key.read_text().strip()

    def send(self, method, path, **options):
        headers = {"x-portkey-api-key": self.key}
        answer = requests.request(method, self.url + path, headers=headers, timeout=20, **options)
        self.assertEqual(answer.status_code, 200, answer.text)
        return answer.json()

    def queue_of(self, name, pattern):
        """A queue that gets the events of a pattern by a rule of its own."""
        queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        self.bridge.put_rule(Name=name, EventBusName="feedback", EventPattern=json.dumps(pattern), State="ENABLED")
        target = {"Id": "queue", "Arn": arn["Attributes"]["QueueArn"]}
        answer = self.bridge.put_targets(Rule=name, EventBusName="feedback", Targets=[target])
        self.assertEqual(answer["FailedEntryCount"], 0)
        return queue

    def received(self, queue=None):
        """What is in a queue, as text."""
        lines, queue = [], queue or self.queue
        while messages := self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                lines.append(message["Body"])
                self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return lines

    def test_each_filter_of_the_webhook_gets_what_it_says(self):
        queues = {name: self.queue_of(name, pattern) for name, pattern in PATTERNS.items()}
        self.assertEqual(set(queues), {"all", "negative", "with-comment", "negative-with-comment"})
        span = {"traceId": "t", "spanId": "s"}
        comments = [{}, {"comment": 'It "said"\n<no>'}]
        for value, more in itertools.product((-10, -1, 0, 10), comments):
            self.send("POST", "/v1/feedback", json={"trace_id": "t", "value": value, **more})
        for rating, more in itertools.product(range(1, 6), comments):
            self.send("POST", "/api/svc/v1/gateway-feedback", json={"target": span, "rating": rating, **more})
        for name in ("comment", "comments", "text", "other"):
            body = {"trace_id": "t", "value": -2, "metadata": {name: "x", "_user": "u"}}
            self.send("POST", "/v1/feedback", json=body)
        made = self.send("POST", "/v1/feedback", json={"trace_id": "t", "value": 1})["feedback_ids"]
        self.send("PUT", f"/v1/feedback/{made[0]}", json={"value": -1, "comment": "changed"})
        self.send("DELETE", f"/v1/feedback/{made[0]}")
        expected = {"all": 8 + 10 + 4 + 3, "negative": 4 + 4 + 4 + 1, "with-comment": 4 + 5 + 3 + 1}
        expected["negative-with-comment"] = 2 + 2 + 3 + 1
        lines, until = {name: [] for name in queues}, time.monotonic() + 2 * PATIENCE
        while len(lines["all"]) < expected["all"]:
            self.assertLess(time.monotonic(), until, f"{len(lines['all'])} events came")
            lines["all"] += self.received(queues["all"])
        # An event goes to all queues at once.
        for name in set(queues) - {"all"}:
            lines[name] = self.received(queues[name])
        self.assertEqual({name: len(events) for name, events in lines.items()}, expected)
        for line in lines["negative-with-comment"]:
            record = json.loads(line)["detail"]["after"]
            score = record["value"] if record["scale"] == "value" else record["rating"] - 3
            texts = [record["comment"]] + [(record["metadata"] or {}).get(key) for key in ("comment", "comments", "text")]
            self.assertTrue(score < 0 and any(texts), record)

    def test_the_fold_of_what_a_rule_s_queue_receives_is_what_is_there(self):
        large = "x" * 60_000
        ids = []
        for value in range(25):
            body = {"trace_id": "é#1", "value": value % 21 - 10, "metadata": {"_user": "ada", "text": large}}
            ids += self.send("POST", "/v1/feedback", json=body)["feedback_ids"]
        for identity in ids[::2]:
            self.send("PUT", f"/v1/feedback/{identity}", json={"value": 1})
        for identity in ids[::5]:
            self.send("DELETE", f"/v1/feedback/{identity}")
        span = {"traceId": "t", "spanId": "s"}
        self.send("POST", "/api/svc/v1/gateway-feedback", json={"target": span, "rating": 4, "comment": "good"})
        lines, until = [], time.monotonic() + 2 * PATIENCE
        while len(lines) < 25 + 13 + 5 + 1:
            self.assertLess(time.monotonic(), until, f"{len(lines)} events came")
            lines += self.received()
        self.assertEqual(fold(lines), listed(self.url, self.key))
        events = [json.loads(line) for line in lines]
        kinds = [event["detail-type"] for event in events]
        expected = {"Feedback Created": 26, "Feedback Updated": 13, "Feedback Deleted": 5}
        self.assertEqual({kind: kinds.count(kind) for kind in kinds}, expected)
        for event in events:
            self.assertEqual(event["source"], "hindsight")
            happened_at = datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00"))
            self.assertLess(abs(time.time() - happened_at.timestamp()), 600, event["time"])


if __name__ == "__main__":
    unittest.main()

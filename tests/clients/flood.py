"""Malformed requests beside good ones, for as long as one likes.

    HINDSIGHT_BIN=target/debug/hindsight python tests/clients/flood.py --minutes 10

Starts a server of its own on a temporary database, sends a thousand malformed requests a minute and
good ones all the while, and watches the server's memory. Ends with 1 if a good request failed, if
anything was answered with 5xx or not at all, or if memory grew by more than a half after the first
tenth of the time.
"""

import argparse
import base64
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time

PORTKEY = "/v1/feedback"
TRUEFOUNDRY = "/api/svc/v1/gateway-feedback"
MALFORMED_A_MINUTE = 1000


def malformed(chance):
    """One request that must be refused: (method, path, headers, body)."""
    bomb = base64.b64encode(b'{"traceId":' + b"[" * 5000).decode()
    bodies = [
        b"", b"{", b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b"null", b"[]", b"[" * 100_000, b"{}" * 10,
        b'{"trace_id":"t","value":NaN}', b'{"trace_id":"t","value":1e400}', b'{"trace_id":"","value":1}',
        b'{"trace_id":"t","value":' + b"9" * 400 + b"}", b'{"trace_id":"t","value":1,"value":2}',
        b'{"trace_id":"\\ud800","value":1}', b'{"trace_id":"t","value":1,"metadata":"["}',
        b'{"trace_id":"t","value":1,"metadata":{"x":"' + b"y" * 70_000 + b'"}}',
        b'{"x":"' + b"y" * 1_100_000 + b'"}', chance.randbytes(chance.randrange(1, 2000)),
        json.dumps({"target": {"feedbackTargetId": bomb}, "rating": 1}).encode(),
        json.dumps({"target": {"traceId": "t", "spanId": "s"}, "rating": 6}).encode(),
        json.dumps([{"trace_id": "t", "value": 1}] * 101).encode(),
    ]
    queries = ["limit=0", "cursor=%00", "from=x&to=y", "a=b" * 500, "trace_id=" + "x" * 600, "%ff=%ff"]
    paths = ["undefined", "%2e%2e", "%00", "x" * 300, "0" * 32 + "z"]
    kind = chance.randrange(4)
    if kind == 0:
        return "POST", chance.choice([PORTKEY, TRUEFOUNDRY]), {}, chance.choice(bodies)
    if kind == 1:
        return "GET", f"{PORTKEY}?{chance.choice(queries)}", {}, None
    if kind == 2:
        path = f"{chance.choice([PORTKEY, TRUEFOUNDRY])}/{chance.choice(paths)}"
        return chance.choice(["PUT", "DELETE", "GET"]), path, {}, chance.choice(bodies[:6])
    headers = chance.choice([{"x-portkey-api-key": "nobody"}, {"Idempotency-Key": "k" * 300}, {"If-Match": "1"}])
    if "If-Match" in headers:
        return "PUT", f"{PORTKEY}/019ab2a98fc6e80483eae496e2dd611d", headers, b'{"value":1}'
    return "POST", PORTKEY, headers, b'{"trace_id":"t","value":1}'


class Client:
    """A connection that is made anew when it was closed."""

    def __init__(self, port, key):
        self.port, self.key, self.connection = port, key, None

    def call(self, method, path, headers, body):
        for attempt in (1, 2):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                self.connection.request(method, path, body, {"x-portkey-api-key": self.key, **headers})
                answer = self.connection.getresponse()
                return answer.status, answer.read()
            except (http.client.HTTPException, OSError):
                # The server closes a connection whose body it did not read to the end.
                self.connection.close()
                self.connection = None
                if attempt == 2:
                    return 0, b""


def memory_of(process):
    with open(f"/proc/{process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--minutes", type=float, default=10)
    minutes = arguments.parse_args().minutes
    directory = tempfile.mkdtemp()
    binary = os.environ["HINDSIGHT_BIN"]
    server = subprocess.Popen(
        [binary, "--port", "0", "--data-dir", directory], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(re.search(r":(\d+)$", server.stdout.readline().strip())[1])
        threading.Thread(target=lambda: [None for _ in server.stdout], daemon=True).start()
        while not os.path.exists(f"{directory}/api-key"):
            time.sleep(0.05)
        with open(f"{directory}/api-key") as file:
            key = file.read().strip()
        return flood(server, port, key, minutes)
    finally:
        server.terminate()
        server.wait(10)


def flood(server, port, key, minutes):
    end = time.monotonic() + minutes * 60
    statuses, failures, good = {}, [], 0
    memory = []

    def send_malformed(seed):
        chance, client = random.Random(seed), Client(port, key)
        while time.monotonic() < end:
            request = malformed(chance)
            status, body = client.call(*request)
            statuses[status] = statuses.get(status, 0) + 1
            if not 400 <= status < 500:
                failures.append((request[0], request[1][:80], (request[3] or b"")[:80], status, body[:200]))
            time.sleep(2 * 60 / MALFORMED_A_MINUTE)

    threads = [threading.Thread(target=send_malformed, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    client = Client(port, key)
    while time.monotonic() < end:
        body = json.dumps({"trace_id": f"t{good}", "value": good % 21 - 10}).encode()
        status, answer = client.call("POST", PORTKEY, {}, body)
        if status == 200:
            path = f"{PORTKEY}/{json.loads(answer)['feedback_ids'][0]}"
            status, answer = client.call("GET", path, {}, None)
        if status != 200 or json.loads(answer)["trace_id"] != f"t{good}":
            failures.append(("good", status, answer[:200]))
        good += 1
        memory.append(memory_of(server))
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    settled = memory[len(memory) // 10]
    print(f"{good} good requests, {sum(statuses.values())} malformed ones: {statuses}")
    print(f"memory in KiB: {settled} after a tenth of the time, {max(memory)} at most, {memory[-1]} at the end")
    for failure in failures[:20]:
        print("FAILED", failure)
    return 1 if failures or max(memory) > settled * 1.5 else 0


if __name__ == "__main__":
    sys.exit(main())

"""Sends malformed and valid requests for a given time, and checks the server's memory.

    HINDSIGHT_BIN=target/debug/hindsight python tests/clients/flood.py --minutes 10

Starts a server on a temporary database, sends a thousand malformed requests a minute and valid ones
at the same time, and measures the server's memory. Exits with 1 if a valid request failed, if any
response was a 5xx or missing, or if memory grew. With --malformed-only there are no valid requests,
and so no growing data.

Memory is the process's own (RssAnon, proc_pid_status(5)); the kernel may load and drop pages of its
executable at any time. Each tenth of the time is represented by its median. During the first tenth
the server sees every kind of request, and SQLite's cache reaches its 2 MiB. Memory has grown if the
last tenth is more than GROWTH above the second.

The server's allocator is configured (MALLOC_TRIM_THRESHOLD_, mallopt(3)) to return large free blocks.
By default glibc keeps up to twice the largest block, about 4 MiB here, from some random moment on.
That would hide a leak of this size. --as-is keeps glibc's default.
"""

import argparse
import base64
import http.client
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PORTKEY = "/v1/feedback"
TRUEFOUNDRY = "/api/svc/v1/gateway-feedback"
MALFORMED_A_MINUTE = 1000
SENDERS = 2

# In KiB. After the first tenth, the database still adds tokens: it keeps the ClientRequestToken of a
# transaction (0.6 KiB) for ten minutes, and counting makes two transactions a second, so 0.7 MiB. Two
# medians of a process with constant memory differ by up to 0.5 MiB. The rest would be 200 bytes for
# each malformed request in ten minutes.
GROWTH = 1536

# In a shorter run, SQLite's cache is not yet full after a tenth of the time.
JUDGED_MINUTES = 10


def malformed(chance):
    """Returns one request that must be rejected: (method, path, headers, body)."""
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
    """A connection that is reopened after it was closed."""

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
                # The server closes a connection if it did not read the whole body.
                self.connection.close()
                self.connection = None
                if attempt == 2:
                    return 0, b""


def memory_of(process):
    """Returns a process's resident memory: (total, its own), in KiB."""
    with open(f"/proc/{process.pid}/status") as file:
        status = file.read()
    return tuple(int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmRSS", "RssAnon"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--malformed-only", action="store_true")
    parser.add_argument("--as-is", action="store_true")
    arguments = parser.parse_args()
    # glibc's initial value. Setting it explicitly keeps glibc from adjusting it.
    environment = {} if arguments.as_is else {"MALLOC_TRIM_THRESHOLD_": str(128 * 1024)}
    directory = tempfile.mkdtemp()
    binary = os.environ["HINDSIGHT_BIN"]
    server = subprocess.Popen(
        [binary, "--port", "0", "--data-dir", directory],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        port = int(re.search(r":(\d+)$", server.stdout.readline().strip())[1])
        threading.Thread(target=lambda: [None for _ in server.stdout], daemon=True).start()
        while not os.path.exists(f"{directory}/api-key"):
            time.sleep(0.05)
        with open(f"{directory}/api-key") as file:
            key = file.read().strip()
        return flood(server, port, key, arguments)
    finally:
        server.terminate()
        server.wait(10)


def flood(server, port, key, arguments):
    begin = time.monotonic()
    seconds = arguments.minutes * 60
    end = begin + seconds
    statuses, failures, good = {}, [], 0
    tenths = [[] for _ in range(10)]
    threading.excepthook = lambda died: failures.append(repr(died.exc_value))

    def send_malformed(seed):
        chance, client = random.Random(seed), Client(port, key)
        due = begin
        while (now := time.monotonic()) < end:
            if now < due:
                time.sleep(due - now)
            due += 60 / (MALFORMED_A_MINUTE / SENDERS)
            request = malformed(chance)
            status, body = client.call(*request)
            statuses[status] = statuses.get(status, 0) + 1
            if not 400 <= status < 500:
                failures.append((request[0], request[1][:80], (request[3] or b"")[:80], status, body[:200]))

    def send_good():
        nonlocal good
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
            time.sleep(0.05)

    threads = [threading.Thread(target=send_malformed, args=(seed,)) for seed in range(SENDERS)]
    if not arguments.malformed_only:
        threads.append(threading.Thread(target=send_good))
    for thread in threads:
        thread.start()
    while (now := time.monotonic()) < end:
        tenths[int(10 * (now - begin) / seconds)].append(memory_of(server))
        time.sleep(seconds / 600)
    for thread in threads:
        thread.join()

    sent = sum(statuses.values())
    print(f"{good} good requests, {sent} malformed ones: {statuses}")
    if sent < 0.99 * MALFORMED_A_MINUTE * arguments.minutes:
        failures.append(f"{sent / arguments.minutes:.0f} malformed requests a minute are too few")
    rss = [round(statistics.median(all for all, _ in tenth)) for tenth in tenths]
    own = [round(statistics.median(own for _, own in tenth)) for tenth in tenths]
    print(f"RSS in KiB, the median of each tenth of the time: {rss}")
    print(f"of it the process's own: {own}, at most {max(own for tenth in tenths for _, own in tenth)}")
    for failure in failures[:20]:
        print("FAILED", failure)
    print("PASS" if not failures else "FAIL", f"requests: {len(failures)} were not as they must be")
    flat = own[-1] <= own[1] + GROWTH
    if arguments.minutes < JUDGED_MINUTES:
        flat = True
        print(f"Memory is not judged in less than {JUDGED_MINUTES} minutes")
    else:
        print(
            "PASS" if flat else "FAIL",
            f"memory: the last tenth less the second is {own[-1] - own[1]} KiB, allowed are {GROWTH}",
        )
    return 1 if failures or not flat else 0


if __name__ == "__main__":
    sys.exit(main())

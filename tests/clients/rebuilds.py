"""Runs rebuilds while writers are slowed down.

    HINDSIGHT_BIN=target/debug/hindsight python tests/clients/rebuilds.py --rebuilds 5

Starts a server on a temporary data directory. Writers create, update and delete continuously. A lock on
the database delays them at random, for up to a second and a half, so that some writes are in progress at
each step of a rebuild. After each `stats rebuild` the writers pause, and `stats verify` must agree. Exits
with 1 if it does not, or if a write failed.
"""

import argparse
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

import requests

os.environ.setdefault("HINDSIGHT_BIN", "target/debug/hindsight")
from restart import BINARY, Server  # noqa: E402

WRITERS = 3
LONGEST = 1.5


def write(server, going, over, seed, statuses):
    """Creates mostly, and updates and deletes what it has created, while `going` is set."""
    chance = random.Random(seed)
    session, ids = requests.Session(), []
    session.headers["x-portkey-api-key"] = server.key
    while not over.is_set():
        if not going.wait(0.1):
            continue
        kind = chance.random()
        metadata = {"_user": f"u{chance.randrange(20)}", "_prompt": f"p{chance.randrange(3)}"}
        vote = {"value": chance.randint(-10, 10), "metadata": metadata}
        if kind < 0.6 or not ids:
            answer = session.post(f"{server.url}/v1/feedback", json={"trace_id": "t", **vote})
            if answer.ok:
                ids.append(answer.json()["feedback_ids"][0])
        elif kind < 0.8:
            answer = session.put(f"{server.url}/v1/feedback/{chance.choice(ids)}", json=vote)
        else:
            answer = session.delete(f"{server.url}/v1/feedback/{ids.pop(chance.randrange(len(ids)))}")
        statuses.append(answer.status_code)
        time.sleep(chance.random() / 20)


def hold_up(database, over, seed):
    """Takes SQLite's write lock for up to LONGEST seconds at a time."""
    chance = random.Random(seed)
    connection = sqlite3.connect(database, timeout=30, isolation_level=None)
    while not over.is_set():
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(chance.random() * LONGEST)
        connection.execute("COMMIT")
        time.sleep(chance.random())


def stats(action, data_dir):
    """Runs a `hindsight stats` action, and returns its output and whether it succeeded."""
    command = [BINARY, "stats", action, "--data-dir", str(data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    return done.returncode == 0, (done.stdout + done.stderr).strip().splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rebuilds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    arguments = parser.parse_args()
    print(f"--seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data_dir = pathlib.Path(folder) / "data"
        server = Server(data_dir)
        database = next(data_dir.glob("*.db"))
        going, over, statuses = threading.Event(), threading.Event(), []
        threads = [
            threading.Thread(target=write, args=(server, going, over, arguments.seed + place, statuses))
            for place in range(WRITERS)
        ]
        threads.append(threading.Thread(target=hold_up, args=(database, over, arguments.seed)))
        for thread in threads:
            thread.start()
        passed = True
        try:
            for place in range(arguments.rebuilds):
                going.set()
                time.sleep(3)
                rebuilt, said = stats("rebuild", data_dir)
                print(f"rebuild {place + 1}: {said}", flush=True)
                going.clear()
                # Writes in progress land and are counted.
                time.sleep(15)
                agrees, said = stats("verify", data_dir)
                print(f"verify {place + 1}: {said}", flush=True)
                passed = passed and rebuilt and agrees
        finally:
            over.set()
            for thread in threads:
                thread.join()
            server.close()
    failed = [status for status in statuses if status >= 500]
    print(f"{len(statuses)} writes, {len(failed)} of them failed")
    print("PASS" if passed else "FAIL")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

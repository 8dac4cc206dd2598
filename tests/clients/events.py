"""The events of a server that runs with `--events FILE`: their fold is what is there.

    HINDSIGHT_BIN=target/debug/hindsight python -m unittest events

Run as a script, it compares the file of a running server with what that lists, as `.ci/run` does after the suites of
the released clients:

    python events.py http://127.0.0.1:8787 KEY events.jsonl
"""

import pathlib
import re
import sys
import tempfile
import time
import unittest

import requests

# The maximum time until the last change is in the file, in seconds.
PATIENCE = 30


PAGE = (pathlib.Path(__file__).parent.parent.parent / "docs" / "events.md").read_text()

# The program of the page, which says what is there by the events alone.
program = {}
exec(re.search(r"```python\n(.*?)```", PAGE, re.S)[1], program)
fold = program["fold"]


def listed(url, key):
    """Every record that the API lists."""
    records, cursor = {}, {}
    while True:
        response = requests.get(
            f"{url}/v1/feedback",
            params={"limit": 100, **cursor},
            headers={"x-portkey-api-key": key},
            timeout=20,
        )
        assert response.status_code == 200, response.text
        page = response.json()
        records |= {record["id"]: record for record in page["data"]}
        if not page["next_cursor"]:
            return records
        cursor = {"cursor": page["next_cursor"]}


def agree(url, key, file):
    """Waits until the fold of a file is what the API lists, and returns the numbers of events and records."""
    until = time.monotonic() + PATIENCE
    while True:
        lines = pathlib.Path(file).read_text().splitlines()
        folded, there = fold(lines), listed(url, key)
        if folded == there:
            return len(lines), len(there)
        if time.monotonic() > until:
            missing, more = there.keys() - folded.keys(), folded.keys() - there.keys()
            other = [identity for identity in there.keys() & folded.keys() if there[identity] != folded[identity]]
            raise AssertionError(f"the events lack {missing}, have {more} more, and differ in {other}")
        time.sleep(0.2)


class Events(unittest.TestCase):
    def setUp(self):
        # Its module wants a binary, which the script does not.
        from restart import Server

        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = pathlib.Path(directory.name)
        self.file = self.home / "events.jsonl"
        self.server = Server

    def start(self, *arguments):
        server = self.server(self.home / "data", *arguments)
        self.addCleanup(server.close)
        return server

    def test_a_kill_loses_no_event(self):
        ids = []
        for round_ in range(4):
            server = self.start("--events", str(self.file))
            for value in range(20):
                answer = server.send("POST", "/v1/feedback", json={"trace_id": "t", "value": value - 10})
                ids += answer.json()["feedback_ids"]
            for identity in ids[round_ :: 7]:
                server.send("PUT", f"/v1/feedback/{identity}", json={"value": round_})
            server.send("DELETE", f"/v1/feedback/{ids.pop()}")
            # At some moment of its work.
            time.sleep(round_ * 0.3)
            server.kill()
        server = self.start("--events", str(self.file))
        events, records = agree(server.url, server.key, self.file)
        self.assertEqual(records, len(ids))
        self.assertGreater(events, records)

    def test_events_that_were_off_for_a_while_follow(self):
        server = self.start()
        server.send("POST", "/v1/feedback", json={"trace_id": "t", "value": 1})
        self.assertEqual(server.stop()[0], 0)
        self.assertFalse(self.file.exists())
        server = self.start("--events", str(self.file))
        self.assertEqual(agree(server.url, server.key, self.file), (1, 1))
        server.send("POST", "/v1/feedback", json={"trace_id": "t", "value": 1})
        # What was written just before a stop is sent before it ends.
        self.assertEqual(server.stop()[0], 0)
        self.assertEqual(len(self.file.read_text().splitlines()), 2)
        server = self.start("--events", str(self.file))
        self.assertEqual(agree(server.url, server.key, self.file), (2, 2))

    def test_another_s_file_is_left_alone(self):
        self.file.write_text("my notes")
        with self.assertRaisesRegex(AssertionError, "its last line is not an event: choose another file"):
            self.start("--events", str(self.file))
        self.assertEqual(self.file.read_text(), "my notes")


def main():
    events, records = agree(*sys.argv[1:])
    print(f"{events} events, and {records} records are there by them")
    # The suites have left some, and their events are more than creates.
    assert records > 0 and events > records


if __name__ == "__main__":
    sys.exit(main() if len(sys.argv) == 4 else unittest.main())

"""What `hindsight export` and DynamoDB's export to S3 bring, as DuckDB and pandas read it.

    HINDSIGHT_BIN=target/debug/hindsight python -m unittest exports

The demo is a month of feedback; the records added to it have what formats trip over. All SQL is that of
docs/export.md. Athena's is translated to DuckDB's by sqlglot, and its table is read from files of the form that
AWS documents (docs.aws.amazon.com/amazondynamodb/latest/developerguide/S3DataExport.Output.html).
"""

import base64
import collections
import gzip
import hashlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

import duckdb
import pandas
import requests
import sqlglot

from restart import BINARY, PATIENCE, Server

PAGE = (pathlib.Path(__file__).parent.parent.parent / "docs" / "export.md").read_text()

# The texts of a caller that a careless reader or writer changes.
TEXTS = [
    "plain",
    'a "quoted" word, and a comma',
    "two\nlines",
    "two\r\nlines",
    "=1+1",
    "-1",
    "+1",
    "@here",
    "0017",
    "1e3",
    "true",
    "null",
    "NULL",
    "NaN",
    "2026-01-01",
    " spaces ",
    "\t",
    "é漢字👍",
    "back\\slash",
    "a#b%23c%25",
    "'",
    '"',
]


class Demo(Server):
    """A server with the demo in memory, and its database on a port."""

    def __init__(self):
        self.output = tempfile.TemporaryFile("w+", errors="replace")
        command = [BINARY, "--demo", "--port", "0", "--dynamodb-port", "0"]
        self.process = subprocess.Popen(command, stdout=self.output, stderr=subprocess.STDOUT)
        try:
            self.url, self.key = self.greeting()
            self.dynamodb = re.search(r"^DynamoDB endpoint +(\S+)$", self.said(), re.M)[1]
        except BaseException:
            self.close()
            raise

    def get(self, path, key=None, **query):
        headers = {"x-portkey-api-key": key or self.key}
        response = requests.get(self.url + path, params=query, headers=headers, timeout=20)
        assert response.status_code == 200, response.text
        return response.json()

    def post(self, path, body):
        response = requests.post(self.url + path, json=body, headers={"x-portkey-api-key": self.key}, timeout=20)
        assert response.status_code == 200, response.text

    def items(self):
        """Every item of the table of feedback, as DynamoDB's JSON."""
        start = {}
        while True:
            response = requests.post(
                self.dynamodb,
                data=json.dumps({"TableName": "feedback", **start}),
                headers={"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.Scan"},
                timeout=60,
            ).json()
            yield from response["Items"]
            if "LastEvaluatedKey" not in response:
                return
            start = {"ExclusiveStartKey": response["LastEvaluatedKey"]}


def sql(begin):
    """The statement of the page that begins so."""
    found = [block for block in re.findall(r"```sql\n(.*?)```", PAGE, re.S) if block.startswith(begin)]
    assert len(found) == 1, begin
    return found[0]


def environment():
    """What an AWS profile would say: the demo's database."""
    return {
        **os.environ,
        "AWS_ENDPOINT_URL_DYNAMODB": demo.dynamodb,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }


def command(*arguments, workspace="local"):
    """The command on the demo's database as on a deployed table."""
    return [BINARY, "export", "--feedback-table", "feedback", "--workspace", workspace, *arguments]


def export(*arguments, **workspace):
    """Runs the command, and returns what it writes to standard output."""
    done = subprocess.run(
        command(*arguments, **workspace), capture_output=True, timeout=10 * PATIENCE, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    # Nothing but the summary: no progress is drawn without a terminal.
    assert re.fullmatch(rb"hindsight: Exported \d+ records\.\n", done.stderr), done.stderr
    return done.stdout.decode()


def s3_export(folder, items):
    """Writes the files of a full export as DynamoDB does: gzip-compressed JSON lines in several objects, one of them
    empty, and the manifests beside them."""
    base = folder / "hindsight" / "AWSDynamoDB" / "01234567890123-a1b2c3d4"
    (base / "data").mkdir(parents=True)
    (base / "_started").touch()
    parts = [items[0::3], items[1::3], items[2::3], []]
    manifest = []
    for number, part in enumerate(parts):
        name = f"{hashlib.sha256(str(number).encode()).hexdigest()[:26]}.json.gz"
        lines = "".join(json.dumps({"Item": item}, separators=(",", ":")) + "\n" for item in part)
        data = gzip.compress(lines.encode())
        (base / "data" / name).write_bytes(data)
        checksum = base64.b64encode(hashlib.md5(data).digest()).decode()
        key = f"AWSDynamoDB/{base.name}/data/{name}"
        manifest.append({"itemCount": len(part), "md5Checksum": checksum, "etag": "x-1", "dataFileS3Key": key})
    (base / "manifest-files.json").write_text("".join(json.dumps(file) + "\n" for file in manifest))
    summary = {
        "version": "2020-06-30",
        "manifestFilesS3Key": f"AWSDynamoDB/{base.name}/manifest-files.json",
        "itemCount": len(items),
        "outputFormat": "DYNAMODB_JSON",
    }
    (base / "manifest-summary.json").write_text(json.dumps(summary))
    return base / "data"


def setUpModule():
    global demo, folder, votes, lines, api
    directory = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(directory.cleanup)
    folder = pathlib.Path(directory.name)
    demo = Demo()
    unittest.addModuleCleanup(demo.close)
    for place, text in enumerate(TEXTS):
        metadata = {"_user": text, "_prompt": text, "note": text, "n": place}
        body = {"trace_id": text, "value": 1, "weight": 0.1, "comment": text, "reasons": [text], "metadata": metadata}
        demo.post("/v1/feedback", body)
    votes, lines = folder / "votes.csv", folder / "votes.jsonl"
    settled()
    votes.write_bytes(export("--format", "csv").encode())
    lines.write_bytes(export("--format", "jsonl").encode())
    api = everything()


def settled():
    """Waits until an export has the newest record: that of a deployed table leaves out the last 15 seconds."""
    newest = demo.get("/v1/feedback", limit=1)["data"][0]["id"]
    until = time.monotonic() + 4 * PATIENCE
    while newest not in export("--format", "jsonl", "--trace-id", TEXTS[-1]):
        assert time.monotonic() < until, "the newest record is not exported"
        time.sleep(1)


def everything():
    """Every record as the API lists it, oldest first."""
    records, cursor = [], {}
    while True:
        page = demo.get("/v1/feedback", limit=100, order="asc", **cursor)
        records += page["data"]
        if not page["next_cursor"]:
            return records
        cursor = {"cursor": page["next_cursor"]}


def database():
    """A DuckDB of its own, in the folder where the files are."""
    connection = duckdb.connect(config={"file_search_path": str(folder)})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


class Files(unittest.TestCase):
    """The two formats have the API's records."""

    def test_json_lines_are_the_records_of_the_api(self):
        text = lines.read_bytes().decode()
        self.assertEqual([json.loads(line) for line in text.split("\n")[:-1]], api)
        self.assertEqual(len(api), 8000 + len(TEXTS))

    def test_duckdb_and_pandas_read_the_csv_by_its_documented_columns(self):
        columns = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE, re.M)
        header = votes.read_bytes().split(b"\r\n", 1)[0].decode()
        self.assertEqual(header.split(","), [name for name, _ in columns])
        types = ", ".join(f"'{name}': '{kind}'" for name, kind in columns)
        # The line in the page has the same.
        self.assertIn("{" + types + "}", sql("COPY"))
        database_ = database()
        copy = sql("COPY").replace("'votes.csv'", f"'{votes}'").replace("votes.parquet", str(folder / "votes.parquet"))
        database_.execute(copy)
        parquet = database_.sql(f"FROM '{folder / 'votes.parquet'}'")
        rows = [dict(zip(parquet.columns, row)) for row in parquet.fetchall()]
        self.assertEqual(len(rows), len(api))
        for row, record in zip(rows, api):
            metadata = record["metadata"]
            for name in ("id", "trace_id", "span_id", "written_by", "scale", "value", "weight", "rating", "version"):
                self.assertEqual(row[name], record[name], name)
            self.assertEqual(row["comment"], record["comment"])
            self.assertEqual(json.loads(row["reasons"]), record["reasons"])
            self.assertEqual(json.loads(row["metadata"]), metadata)
            for name in ("user", "session", "prompt", "organisation", "environment", "name"):
                self.assertEqual(row[name], metadata.get(f"_{name}"), name)
            self.assertEqual(row["model"], metadata.get("_model", "unknown"))
            for name in ("created_at", "updated_at"):
                written = row[name].isoformat(timespec="milliseconds").replace("+00:00", "Z")
                self.assertEqual(written, record[name])

    def test_pandas_reads_both(self):
        code = re.search(r"```python\n(.*?)```", PAGE, re.S)[1]
        code = code.replace('"votes.csv"', repr(str(votes))).replace('"votes.jsonl"', repr(str(lines)))
        names = {}
        exec(code, names)
        table, records = names["votes"], names["lines"]
        self.assertEqual(len(table), len(api))
        self.assertEqual(len(records), len(api))
        self.assertIn("0017", set(table["trace_id"]))
        self.assertEqual(list(records["trace_id"]), [record["trace_id"] for record in api])
        self.assertEqual(list(records["metadata"]), [record["metadata"] for record in api])
        values = [record["value"] for record in api if record["value"] is not None]
        self.assertEqual(table["value"].sum(), sum(values))
        self.assertEqual(records["value"].count(), len(values))
        for frame in (table, records):
            self.assertTrue(pandas.api.types.is_datetime64_any_dtype(frame["created_at"]))


class Interrupted(unittest.TestCase):
    """An export that is killed, and run again."""

    def test_a_killed_export_goes_on(self):
        target = folder / "killed.csv"
        part, saved = folder / "killed.csv.part", folder / "killed.csv.part.json"
        again = command("--format", "csv", "--to", api[-1]["created_at"], "--output", str(target))
        # Slow enough to be met between its first saved position and its end.
        slow = subprocess.Popen([*again, "--max-read-units", "150"], stderr=subprocess.DEVNULL, env=environment())
        until = time.monotonic() + 4 * PATIENCE
        while not saved.exists():
            self.assertIsNone(slow.poll())
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)
        slow.kill()
        slow.wait()
        self.assertTrue(part.exists() and not target.exists())
        done = subprocess.run(again, capture_output=True, text=True, env=environment(), check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, r"going on after [1-9]\d+ records")
        # All but the last one, at whose time it ends.
        whole = votes.read_bytes()
        self.assertTrue(whole.startswith(target.read_bytes()))
        rows = database().sql(f"SELECT count(*), count(DISTINCT id) FROM read_csv('{target}', all_varchar = true)")
        self.assertEqual(rows.fetchall(), [(len(api) - 1, len(api) - 1)])
        self.assertFalse(part.exists() or saved.exists())


def run(*arguments):
    """Runs another command on the demo's database as on deployed tables, and returns what it prints."""
    return subprocess.run(
        [BINARY, *arguments],
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        env=environment(),
        check=False,
    )


def import_into(workspace, file):
    """Imports a file as into a deployed stack, and returns what the command says."""
    tables = ["--feedback-table", "feedback", "--stats-table", "stats", "--workspace", workspace]
    fast = ["--retention-days", "0", "--max-write-units", "1000000"]
    return run("import", str(file), "--from", "hindsight", *tables, *fast)


class Answers(unittest.TestCase):
    """What is computed from the files equals the service's analytics."""

    def groups(self, key=None):
        """Votes, average, ratings and mean rating of each prompt, as analytics have them."""
        span = {"time_of_generation_min": api[0]["created_at"], "time_of_generation_max": "2126-01-01"}
        found = demo.get("/v1/analytics/groups/metadata/_prompt", key, page_size=100, **span)["data"]
        groups = {}
        for group in found:
            rated = group["ratings"]["total"]
            groups[group["metadata_value"]] = (
                group["requests_with_feedback"] - rated,
                group["avg_weighted_feedback"],
                rated,
            )
        return groups

    def assert_same(self, found, expected):
        self.assertEqual(set(found), set(expected))
        for prompt, (count, average) in found.items():
            self.assertEqual(count, expected[prompt][0], prompt)
            self.assertAlmostEqual(average or 0, expected[prompt][1] or 0, 9, prompt)

    def test_prompts_by_duckdb_from_json_lines(self):
        query = sql("SELECT metadata").replace("'votes.jsonl'", f"'{lines}'")
        found = {prompt: (count, average) for prompt, count, average in database().sql(query).fetchall()}
        expected = {prompt: group for prompt, group in self.groups().items() if group[0]}
        self.assert_same(found, expected)

    def test_what_is_imported_is_exported_again_and_answers_the_same(self):
        # Of the second format the last ones will do, which are those with the texts.
        some = folder / "some.jsonl"
        last = lines.read_bytes().decode().split("\n")[-500:-1]
        some.write_bytes("".join(line + "\n" for line in last).encode())
        for name, format_, file, count in (("again", "csv", votes, len(api)), ("some", "jsonl", some, len(last))):
            done = import_into(name, file)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn(f"Imported {count} records.", done.stderr)
            self.assertEqual(export("--format", format_, workspace=name), file.read_bytes().decode())
            again = import_into(name, file)
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertIn(f"Imported 0 records; left out: {count} already there.", again.stderr)
        made = run("keys", "create", "--table", "api-keys", "--workspace", "again", "--name", "x", "--scope", "read", "--json")
        key = json.loads(made.stdout)["key"]
        # Analytics had them all when the command ended.
        self.assertEqual(self.groups(key), self.groups())
        query = sql("SELECT metadata").replace("'votes.jsonl'", f"'{lines}'")
        found = {prompt: (count, average) for prompt, count, average in database().sql(query).fetchall()}
        self.assert_same(found, {prompt: group for prompt, group in self.groups(key).items() if group[0]})

    def test_athena_s_views_on_dynamodb_s_own_export(self):
        data = s3_export(folder, list(demo.items()))
        connection = database()
        table = sqlglot.parse_one(sql("CREATE EXTERNAL TABLE"), dialect="athena")
        column = table.this.expressions[0]
        self.assertEqual(len(table.this.expressions), 1)
        # Athena's SerDe matches names whatever their case; DuckDB's reader needs the case of the files, which the
        # statement has.
        kind = column.kind.sql("duckdb").replace("'", "''")
        connection.execute(
            f"CREATE TABLE hindsight_export AS FROM read_json('{data}/*.json.gz', "
            f"format = 'newline_delimited', columns = {{'{column.name}': '{kind}'}})"
        )
        # Trino's; sqlglot leaves it as it is.
        connection.execute("CREATE MACRO from_base(digits, base) AS ('0x' || digits)::BIGINT")
        for view in ("hindsight_feedback", "hindsight_days"):
            (statement,) = sqlglot.transpile(sql(f"CREATE OR REPLACE VIEW {view}"), read="athena", write="duckdb")
            connection.execute(statement)
        view = connection.sql("FROM hindsight_feedback ORDER BY id")
        header = votes.read_bytes().split(b"\r\n", 1)[0].decode().split(",")
        self.assertEqual(view.columns, ["workspace", *header])
        found = [dict(zip(view.columns, row)) for row in view.fetchall()]
        copy = sql("COPY").strip().removeprefix("COPY (").split(") TO ")[0].replace("'votes.csv'", f"'{votes}'")
        table = connection.sql(f"{copy} ORDER BY id")
        expected = [{"workspace": "local", **dict(zip(table.columns, row))} for row in table.fetchall()]
        self.assertEqual(len(found), len(api))
        for one, other in zip(found, expected):
            self.assertEqual(one, other)
        days = connection.sql(
            "SELECT prompt, sum(votes)::BIGINT, sum(average * votes) / sum(votes), sum(ratings)::BIGINT "
            "FROM hindsight_days GROUP BY prompt"
        ).fetchall()
        groups = self.groups()
        self.assert_same({prompt: (count, average) for prompt, count, average, _ in days}, groups)
        self.assertEqual({day[0]: day[3] for day in days}, {prompt: group[2] for prompt, group in groups.items()})


class Filters(unittest.TestCase):
    """The filters are those of the lists."""

    def test_a_filter_exports_what_the_list_has(self):
        middle = api[4000]["created_at"]
        for query in (
            {"prompt": "draft-reply", "environment": "staging"},
            {"reason": "too long"},
            {"name": "accurate", "from": middle},
            {"to": middle, "organisation": "ostra-foods"},
            {"user": "=1+1"},
            {"trace_id": "a#b%23c%25"},
        ):
            options = [part for name, value in query.items() for part in (f"--{name.replace('_', '-')}", value)]
            found = [json.loads(line)["id"] for line in export("--format", "jsonl", *options).splitlines()]
            expected, cursor = [], {}
            while True:
                page = demo.get("/v1/feedback", limit=100, order="asc", **query, **cursor)
                expected += [record["id"] for record in page["data"]]
                if not page["next_cursor"]:
                    break
                cursor = {"cursor": page["next_cursor"]}
            self.assertTrue(expected)
            self.assertEqual(found, expected, query)
            self.assertEqual(collections.Counter(found).most_common(1)[0][1], 1)


if __name__ == "__main__":
    unittest.main()

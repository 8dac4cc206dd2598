"""The analytics of the released Portkey SDK for Python, sync and async, against a running server.

    HINDSIGHT_URL=http://127.0.0.1:8787 HINDSIGHT_KEY=hsk_… python -m unittest analytics_python

Expected responses are computed here from a list of the sent votes. Other tests write to the same
workspace at the same time, so each test marks its records with a random prompt.
"""

import asyncio
import collections
import datetime
import fractions
import json
import operator
import os
import time
import unittest
import uuid

# In a developer's environment, this variable would replace the key that a test omits.
os.environ.pop("PORTKEY_API_KEY", None)

import requests
from portkey_ai import AsyncPortkey, Portkey
from portkey_ai.api_resources import exceptions

URL = os.environ["HINDSIGHT_URL"].rstrip("/")
KEY = os.environ["HINDSIGHT_KEY"]
# The workspace of the key: a local server uses this name.
WORKSPACE = os.environ.get("HINDSIGHT_WORKSPACE", "local")

# The maximum time for counting on a busy machine, in seconds.
PATIENCE = 15

UTC = datetime.timezone.utc
HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)
INDIA = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
PACIFIC = datetime.timezone(datetime.timedelta(hours=-8))

# Values with weights that no binary fraction equals, and the limits of both.
VOTES = [
    (10, "1"), (-10, "1"), (5, "0.1"), (5, "0.3"), (-3, "0.7"), (0, "1"), (0, "0"), (7, "0.333"), (1, "1"),
    (1, "0.999"), (-10, "0"), (10, "0.001"),
]


def send(method, path, **options):
    """Sends a request without the SDK."""
    response = requests.request(method, f"{URL}{path}", headers={"x-portkey-api-key": KEY}, timeout=20, **options)
    response.raise_for_status()
    return response.json()


def parsed(moment):
    return datetime.datetime.fromisoformat(moment)


def exactly(number):
    """Recovers the exact fraction, a sum of thousandths divided by a small count, from a float."""
    return fractions.Fraction(number).limit_denominator(1_000_000)


class SyncClient:
    """The SDK's client, called as in the vendor's documents."""

    def __init__(self, **options):
        self.client = Portkey(**{"base_url": f"{URL}/v1", **options})

    def call(self, method, **arguments):
        return operator.attrgetter(method)(self.client)(**arguments)

    def close(self):
        self.client.close()


class AsyncClient:
    """The SDK's async client, in its own event loop."""

    def __init__(self, **options):
        self.runner = asyncio.Runner()
        self.client = AsyncPortkey(**{"base_url": f"{URL}/v1", **options})

    def call(self, method, **arguments):
        async def awaited():
            return await operator.attrgetter(method)(self.client)(**arguments)

        return self.runner.run(awaited())

    def close(self):
        self.runner.run(self.client.close())
        self.runner.close()


class Sent:
    """A sent record, as it must be counted."""

    def __init__(self, feedback_id, value=None, weight=None, metadata=None, rating=None):
        self.id, self.value, self.rating = feedback_id, value, rating
        self.weight = fractions.Fraction(weight or 0)
        self.metadata = metadata or {}
        self.created_at = parsed(send("GET", f"/v1/feedback/{feedback_id}")["created_at"])

    @property
    def weighted(self):
        return self.value * self.weight

    @property
    def model(self):
        return self.metadata.get("_model") or self.metadata.get("ai_model") or "unknown"


def average(votes):
    """Σ(value × weight) / n"""
    return sum(vote.weighted for vote in votes) / fractions.Fraction(len(votes)) if votes else 0


def grouped(records, key):
    groups = collections.defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return groups


def votes_of(records):
    return [record for record in records if record.value is not None]


def ratings_of(records):
    """The expected analytics of ratings, in the form of a response."""
    ratings = [record.rating for record in records if record.rating is not None]
    counts = sorted(collections.Counter(ratings).items())
    return {
        "total": len(ratings),
        "mean": fractions.Fraction(sum(ratings), len(ratings)) if ratings else None,
        "distribution": [{"rating": rating, "total": total} for rating, total in counts],
    }


def with_exact_mean(ratings):
    return {**ratings, "mean": ratings["mean"] and exactly(ratings["mean"])}


class Results:
    """Reads responses and computes expected ones, in the same form, for each method."""

    @staticmethod
    def floor(moment, buckets):
        moment = moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return moment.replace(hour=0) if buckets == DAY else moment

    @classmethod
    def by_time(cls, records, buckets):
        return sorted(grouped(votes_of(records), lambda vote: cls.floor(vote.created_at, buckets)).items())

    @classmethod
    def feedbacks(cls, records, buckets):
        points = [(bucket, len(votes)) for bucket, votes in cls.by_time(records, buckets)]
        return len(votes_of(records)), points, ratings_of(records)

    @staticmethod
    def read_feedbacks(answer):
        assert answer.object == "analytics-graph"
        points = [(parsed(point["timestamp"]), point["total"]) for point in answer.data_points]
        return answer.summary["total"], points, with_exact_mean(answer.ratings)

    @classmethod
    def scores(cls, records, _):
        votes = votes_of(records)
        return len(votes), sorted(collections.Counter(vote.value for vote in votes).items()), ratings_of(records)

    @staticmethod
    def read_scores(answer):
        assert answer.object == "analytics-graph"
        points = [(point["score"], point["total"]) for point in answer.data_points]
        return answer.summary["total"], points, with_exact_mean(answer.ratings)

    @classmethod
    def weighted(cls, records, buckets):
        points = [(bucket, average(votes)) for bucket, votes in cls.by_time(records, buckets)]
        return average(votes_of(records)), points, ratings_of(records)

    @staticmethod
    def read_weighted(answer):
        assert answer.object == "analytics-graph"
        points = [(parsed(point["timestamp"]), exactly(point["avg"])) for point in answer.data_points]
        return exactly(answer.summary["avg"]), points, with_exact_mean(answer.ratings)

    @classmethod
    def models(cls, records, _):
        return {
            model: (len(votes_of(group)), average(votes_of(group)), ratings_of(group))
            for model, group in grouped(records, operator.attrgetter("model")).items()
        }

    @staticmethod
    def read_models(answer):
        assert (answer.object, answer.summary) == ("analytics-graph", {})
        models = {
            point["ai_model"]: (
                point["total"], exactly(point["avg_weighted_feedback"]), with_exact_mean(point["ratings"])
            )
            for point in answer.data_points
        }
        assert len(models) == len(answer.data_points)
        return models

    @classmethod
    def groups(cls, records, key):
        groups = grouped([record for record in records if key in record.metadata], lambda record: record.metadata[key])
        return len(groups), {
            value if isinstance(value, str) else json.dumps(value): (
                len(group), average(votes_of(group)), max(record.created_at for record in group)
            )
            for value, group in groups.items()
        }

    @staticmethod
    def read_groups(answer):
        assert answer.object == "list"
        assert all(group["object"] == "analytics-group" for group in answer.data)
        groups = {
            group["metadata_value"]: (
                group["requests_with_feedback"], exactly(group["avg_weighted_feedback"]), parsed(group["last_seen"])
            )
            for group in answer.data
        }
        assert len(groups) == len(answer.data)
        return answer.total, groups


GRAPHS = {
    "feedbacks": (Results.feedbacks, Results.read_feedbacks),
    "feedbacks_scores": (Results.scores, Results.read_scores),
    "feedbacks_weighted": (Results.weighted, Results.read_weighted),
    "feedbacks_ai_models": (Results.models, Results.read_models),
}


def between(start, end):
    return {"time_of_generation_min": start.isoformat(), "time_of_generation_max": end.isoformat()}


def around_now():
    """A range that begins within an hour and ends in the future."""
    now = datetime.datetime.now(UTC)
    return between(now - HOUR, now + HOUR)


class Analytics:
    """Tests for either client."""

    kind = None

    def client(self, **options):
        client = self.kind(**options)
        self.addCleanup(client.close)
        return client

    def setUp(self):
        self.portkey = self.client(api_key=KEY)
        self.run_id = uuid.uuid4().hex
        self.prompt, self.trace = f"prompt-{self.run_id}", f"python-{self.run_id}"

    def create(self, votes, **metadata):
        """Sends votes with this metadata, and with the test's prompt unless it names another."""
        metadata = {"_prompt": self.prompt, **metadata}
        feedbacks = [
            {"trace_id": self.trace, "value": value, "weight": float(weight), "metadata": metadata}
            for value, weight in votes
        ]
        ids = self.portkey.call("feedback.bulk_create", feedbacks=feedbacks).feedback_ids
        return [Sent(feedback_id, *vote, metadata) for feedback_id, vote in zip(ids, votes, strict=True)]

    def rate(self, *ratings, **metadata):
        """Sends ratings, which only the TrueFoundry dialect has."""
        metadata = {"_prompt": self.prompt, **metadata}
        target = {"traceId": self.run_id, "spanId": self.run_id[:16]}
        return [
            Sent(
                send(
                    "POST", "/api/svc/v1/gateway-feedback",
                    json={"target": target, "rating": rating, "metadata": metadata},
                )["data"]["id"],
                metadata=metadata, rating=rating,
            )
            for rating in ratings
        ]

    def update(self, record, value=None, weight=None, metadata=None):
        """Updates the given fields, on the server and in the list."""
        changes = {"value": value, "weight": weight and float(weight), "metadata": metadata}
        changes = {name: change for name, change in changes.items() if change is not None}
        self.portkey.call("feedback.update", feedback_id=record.id, **{"value": record.value, **changes})
        record.value = record.value if value is None else value
        record.weight = record.weight if weight is None else fractions.Fraction(weight)
        record.metadata = record.metadata if metadata is None else metadata

    def settled(self, method, read, expected, **query):
        """Repeats a query until the response is as expected, for as long as counting may take."""
        until = time.monotonic() + PATIENCE
        while True:
            answer = self.portkey.call(method, **query)
            if (got := read(answer)) == expected or time.monotonic() > until:
                break
            time.sleep(0.2)
        self.assertEqual(got, expected, (method, query))
        return answer

    def assert_graphs(self, records, buckets=HOUR, **query):
        """Checks that every graph of a query matches these records."""
        query = {**around_now(), **query}
        for name, (expect, read) in GRAPHS.items():
            with self.subTest(graph=name):
                self.settled(f"analytics.graphs.{name}", read, expect(records, buckets), **query)

    def assert_groups(self, records, key, **query):
        query = {**around_now(), "metadata_key": key, **query}
        expected = Results.groups(records, key)
        return self.settled("analytics.groups.metadata", Results.read_groups, expected, **query)

    def refused(self, error, method="analytics.graphs.feedbacks", client=None, **query):
        """Returns the error of a call that must fail."""
        with self.assertRaises(error) as caught:
            (client or self.portkey).call(method, **{**around_now(), **query})
        return caught.exception

    def test_every_graph_matches_the_sent_votes(self):
        records = self.create(VOTES, _model=f"large-{self.run_id}")
        records += self.create(VOTES[:5], ai_model=f"small-{self.run_id}") + self.create(VOTES[5:8])
        self.assert_graphs(records, prompt_slug=self.prompt)
        self.assert_graphs(records, metadata=json.dumps({"_prompt": self.prompt}))
        self.assert_graphs(records, trace_id=self.trace)

    def test_ratings_are_counted_separately(self):
        model = {"_model": f"large-{self.run_id}"}
        records = self.create(VOTES[:3], **model) + self.rate(1, 5, 5, 4, **model) + self.rate(2)
        self.assert_graphs(records, prompt_slug=self.prompt)
        self.assert_groups(records, "_prompt", prompt_slug=self.prompt)

    def test_the_weighted_summary_has_a_confidence_interval(self):
        records = self.create(VOTES)
        answer = self.settled(
            "analytics.graphs.feedbacks_weighted", Results.read_weighted, Results.weighted(records, HOUR),
            **around_now(), prompt_slug=self.prompt,
        )
        self.assertEqual(
            exactly(answer.summary["mean"]),
            exactly(float(sum(record.weighted for record in records) / sum(record.weight for record in records))),
        )
        positive = answer.summary["positive"]
        share = fractions.Fraction(sum(record.value > 0 for record in records), len(records))
        self.assertEqual(exactly(positive["share"]), share)
        self.assertTrue(0 < positive["low"] < share < positive["high"] < 1, positive)

    def test_updates_and_deletes_are_counted_once(self):
        large, small = ({"_prompt": self.prompt, "_model": f"{size}-{self.run_id}"} for size in ("large", "small"))
        other = {"_prompt": f"other-{self.run_id}"}
        records = self.create(VOTES, **large)
        self.assert_graphs(records, prompt_slug=self.prompt)

        self.update(records[0], value=-7)
        self.update(records[1], weight="0.25")
        self.update(records[2], metadata=small)
        self.update(records[3], value=2, weight="0.875", metadata=small)
        self.update(records[4], metadata=other)
        for value in range(-5, 6):
            self.update(records[5], value=value)
        for gone in (records.pop(), records.pop(6)):
            send("DELETE", f"/v1/feedback/{gone.id}")
        # Updated first, then deleted.
        self.update(records[6], value=-9, metadata=small)
        send("DELETE", f"/v1/feedback/{records.pop(6).id}")

        moved = records.pop(4)
        for _ in range(2):
            self.assert_graphs(records, prompt_slug=self.prompt)
            self.assert_graphs([moved], prompt_slug=other["_prompt"])
            for model in (large, small):
                self.assert_graphs(
                    [record for record in records if record.metadata == model], ai_org_model=model["_model"]
                )
            # Later rounds of counting change nothing.
            time.sleep(1.2)

    def test_deleted_votes_are_not_counted(self):
        records = self.create(VOTES[:3], _model=f"large-{self.run_id}") + self.rate(3)
        self.assert_graphs(records, prompt_slug=self.prompt)
        for record in records:
            send("DELETE", f"/v1/feedback/{record.id}")
        self.assert_graphs([], prompt_slug=self.prompt)
        self.assert_graphs([], trace_id=self.trace)
        self.assert_groups([], "_prompt", prompt_slug=self.prompt)
        self.assert_groups([], "_model", ai_org_model=f"large-{self.run_id}")

    def test_models_are_filtered_by_their_names(self):
        models = [f"{name}-{self.run_id}" for name in ("a", "b/c:d", "größer")]
        by_model = {model: self.create(VOTES[:size], _model=model) for size, model in enumerate(models, 3)}
        unnamed = self.create(VOTES[:2])
        for names in (models[:1], models[1:], models):
            records = [record for name in names for record in by_model[name]]
            self.assert_graphs(records, ai_org_model=",".join(names))
            self.assert_graphs(records, ai_org_model=",".join(names), prompt_slug=self.prompt)
        self.assert_graphs(unnamed, ai_org_model="unknown", prompt_slug=self.prompt)
        self.assert_graphs([], ai_org_model=f"none-{self.run_id}")

    def test_metadata_is_filtered_by_every_member(self):
        records, name = [], "Zürich 👍 a&b=c+d%"
        for index, (size, truth) in enumerate(((2, True), (3, False), (4, True))):
            records += self.create(VOTES[:size], run=self.run_id, index=index, truth=truth, name=name)
        for query in ({"index": 1}, {"index": "2"}, {"truth": True}, {"truth": True, "index": 0}, {"truth": "x"}, {}):
            expected = [
                record for record in records
                if all(str(record.metadata[field]) == str(value) for field, value in query.items())
            ]
            query = {"name": name, "run": self.run_id, **query}
            for ascii_only in (True, False):
                self.assert_graphs(expected, metadata=json.dumps(query, ensure_ascii=ascii_only))
        self.assert_graphs(records[:2], metadata='{"index":0}', prompt_slug=self.prompt)

    def test_weighted_feedback_has_bounds(self):
        records = self.create(VOTES) + self.rate(5)
        for least, most in ((0, None), (None, -1), (-1, 1), (0.5, 0.5), (11, None)):
            bounds = {"weighted_feedback_min": least, "weighted_feedback_max": most}
            bounds = {name: bound for name, bound in bounds.items() if bound is not None}
            expected = [
                vote for vote in votes_of(records)
                if (least is None or vote.weighted >= least) and (most is None or vote.weighted <= most)
            ]
            self.assert_graphs(expected, prompt_slug=self.prompt, **bounds)

    def test_groups_are_by_a_metadata_field(self):
        records = self.create(VOTES[:3])
        for index, user in enumerate(("u-1", "u-2", "Ünal 👤")):
            fields = {"_environment": f"env-{index % 2}", "number": index, "truth": index > 0}
            records += self.create(VOTES[index:index + 2 + index], _user=user, **fields)
        for key in ("_user", "_environment", "_prompt", "number", "truth", "absent"):
            with self.subTest(key=key):
                self.assert_groups(records, key, prompt_slug=self.prompt)
                self.assert_groups(records, key, metadata=json.dumps({"_prompt": self.prompt}))

    def test_a_field_may_have_any_name(self):
        for key in ("a b", "größe", "a.b-c:d", "👍"):
            with self.subTest(key=key):
                prompt = f"{key}-{self.run_id}"
                records = self.create(VOTES[:4], **{key: "one", "_prompt": prompt})
                self.assert_groups(records, key, prompt_slug=prompt)

    def test_groups_have_pages(self):
        records = []
        for index in range(7):
            records += self.create(VOTES[:1 + index % 3], _organisation=f"o-{index}-{self.run_id}")
        query = {**around_now(), "metadata_key": "_organisation", "prompt_slug": self.prompt}
        total, groups = Results.read_groups(self.assert_groups(records, "_organisation", **query))
        self.assertEqual((total, len(groups)), (7, 7))
        for size, pages in ((3, [3, 3, 1, 0]), (7, [7, 0]), (1000, [7, 0]), (0, [0])):
            found = {}
            for page, expected in enumerate(pages):
                answer = self.portkey.call("analytics.groups.metadata", current_page=page, page_size=size, **query)
                total, groups_of_page = Results.read_groups(answer)
                self.assertEqual((total, len(groups_of_page)), (7, expected))
                found.update(groups_of_page)
            # A page size of 0 returns only the totals.
            self.assertEqual(found, groups if size else {})
        for name, value in (("current_page", -1), ("page_size", -1), ("page_size", 1001), ("page_size", "x")):
            error = self.refused(exceptions.BadRequestError, "analytics.groups.metadata", **{**query, name: value})
            self.assertIn(name, str(error))

    def test_without_a_filter_the_response_includes_these_votes(self):
        model, organisation = f"large-{self.run_id}", f"o-{self.run_id}"
        records = self.create(VOTES, _model=model, _organisation=organisation)
        # A year of whole hours, so other tests' records never make it too much to read.
        end = Results.floor(datetime.datetime.now(UTC), HOUR) + HOUR
        query = between(end - 365 * DAY, end)
        self.settled(
            "analytics.graphs.feedbacks_ai_models", lambda answer: Results.read_models(answer).get(model),
            Results.models(records, None)[model], **query,
        )
        self.settled(
            "analytics.groups.metadata", lambda answer: Results.read_groups(answer)[1].get(organisation),
            Results.groups(records, "_organisation")[1][organisation],
            metadata_key="_organisation", page_size=1000, **query,
        )
        for name in ("feedbacks", "feedbacks_scores"):
            answer = self.portkey.call(f"analytics.graphs.{name}", **query)
            self.assertGreaterEqual(answer.summary["total"], len(records))
            self.assertEqual(sum(point["total"] for point in answer.data_points), answer.summary["total"])

    def test_a_range_may_use_any_time_zone(self):
        records = []
        for vote in VOTES[:6]:
            records += self.create([vote])
            time.sleep(0.005)
        hour = Results.floor(datetime.datetime.now(UTC), HOUR)
        for zone in (UTC, INDIA, PACIFIC):
            now = datetime.datetime.now(zone)
            # Hours and days of the time zone, including half hours of UTC.
            local_hour = now.replace(minute=0, second=0, microsecond=0)
            for start, end, buckets in (
                (now - HOUR, now + HOUR, HOUR),
                (hour.astimezone(zone) - HOUR, hour.astimezone(zone) + 2 * HOUR, HOUR),
                (local_hour - HOUR, local_hour + 2 * HOUR, HOUR),
                (local_hour.replace(hour=0) - DAY, local_hour.replace(hour=0) + 2 * DAY, DAY),
                (now - 2 * HOUR, now - HOUR, HOUR),
                (now + HOUR, now + 2 * HOUR, HOUR),
                # The start is inclusive, the end exclusive.
                (records[1].created_at.astimezone(zone), records[4].created_at.astimezone(zone), HOUR),
                (records[2].created_at.astimezone(zone), records[2].created_at.astimezone(zone), HOUR),
            ):
                with self.subTest(start=start, end=end):
                    expected = [record for record in records if start <= record.created_at < end]
                    self.assert_graphs(expected, buckets, prompt_slug=self.prompt, **between(start, end))
        self.assertIn("+05:30", between(now.astimezone(INDIA), now)["time_of_generation_min"])

    def test_the_same_wall_clock_is_another_range_in_another_zone(self):
        records = self.create(VOTES[:3])
        now = datetime.datetime.now(UTC)
        for zone, expected in ((UTC, records), (INDIA, []), (PACIFIC, [])):
            moments = [(now + offset).replace(tzinfo=zone) for offset in (-HOUR, HOUR)]
            self.assert_graphs(expected, prompt_slug=self.prompt, **between(*moments))

    def test_a_year_is_shown_by_day(self):
        records = self.create(VOTES, _model=f"large-{self.run_id}", _user="u-1")
        now = datetime.datetime.now(INDIA)
        for start, end in (
            (now - 365 * DAY, now + HOUR),
            (now - HOUR, now + 365 * DAY),
            (datetime.datetime(now.year, 1, 1, tzinfo=UTC) - DAY, datetime.datetime(now.year + 1, 1, 2, tzinfo=UTC)),
        ):
            query = {**between(start, end), "prompt_slug": self.prompt}
            self.assert_graphs(records, DAY, **query)
            self.assert_groups(records, "_user", **query)

    def test_a_range_without_feedback_is_empty(self):
        records = self.create(VOTES[:1])
        self.assert_graphs(records, prompt_slug=self.prompt)
        query = between(datetime.datetime(2020, 1, 1, tzinfo=INDIA), datetime.datetime(2021, 1, 1, tzinfo=PACIFIC))
        for query in (query, {**query, "prompt_slug": self.prompt}, {**query, "trace_id": self.trace}):
            self.assert_graphs([], **query)
            self.assert_groups([], "_prompt", **query)
        answer = self.portkey.call("analytics.graphs.feedbacks_weighted", **query)
        self.assertEqual((answer.summary["avg"], answer.data_points), (0, []))

    def test_an_unsupported_filter_is_rejected(self):
        for name, value in (
            ("cost_min", 0.5), ("cost_max", 1), ("total_units_min", 1), ("total_units_max", 2), ("virtual_keys", "v"),
            ("configs", "c"), ("status_code", "200"), ("api_key_ids", "k"), ("cache_status", "hit"),
        ):
            for method in (*(f"analytics.graphs.{graph}" for graph in GRAPHS), "analytics.groups.metadata"):
                with self.subTest(method=method, name=name):
                    key = {"metadata_key": "_user"} if "groups" in method else {}
                    error = self.refused(exceptions.BadRequestError, method, **key, **{name: value})
                    self.assertEqual(error.status_code, 400)
                    self.assertRegex(str(error), rf"\b{name}\b")

    def test_an_error_names_the_parameter(self):
        now = datetime.datetime.now(UTC)
        for query, name in (
            ({"time_of_generation_min": "yesterday"}, "time_of_generation_min"),
            ({"time_of_generation_max": "2026-13-01T00:00:00Z"}, "time_of_generation_max"),
            ({"time_of_generation_max": ""}, "time_of_generation_max"),
            (between(now, now - HOUR), "time_of_generation_max"),
            ({"metadata": "text"}, "metadata"),
            ({"metadata": '["a"]'}, "metadata"),
            ({"weighted_feedback_min": "much"}, "weighted_feedback_min"),
            ({"span_id": "s"}, "trace_id"),
        ):
            with self.subTest(query=query):
                error = self.refused(exceptions.BadRequestError, **query)
                self.assertRegex(str(error), rf"\b{name}\b")

    def test_the_keys_own_workspace_may_be_named(self):
        records = self.create(VOTES[:2])
        self.assert_graphs(records, prompt_slug=self.prompt, workspace_slug=WORKSPACE)
        self.assert_groups(records, "_prompt", prompt_slug=self.prompt, workspace_slug=WORKSPACE)

    def test_another_workspace_is_forbidden(self):
        for method in (*(f"analytics.graphs.{graph}" for graph in GRAPHS), "analytics.groups.metadata"):
            key = {"metadata_key": "_user"} if "groups" in method else {}
            slug = f"another-{self.run_id}"
            error = self.refused(exceptions.PermissionDeniedError, method, workspace_slug=slug, **key)
            self.assertEqual(error.status_code, 403)
            self.assertRegex(str(error), "workspace")

    def test_a_bad_key_is_refused(self):
        wrong = KEY[:-1] + ("1" if KEY.endswith("0") else "0")
        for method in ("analytics.graphs.feedbacks_weighted", "analytics.groups.metadata"):
            key = {"metadata_key": "_user"} if "groups" in method else {}
            error = self.refused(exceptions.AuthenticationError, method, self.client(api_key=wrong), **key)
            self.assertEqual(error.status_code, 401)


class SyncAnalytics(Analytics, unittest.TestCase):
    kind = SyncClient


class AsyncAnalytics(Analytics, unittest.TestCase):
    kind = AsyncClient


if __name__ == "__main__":
    unittest.main()

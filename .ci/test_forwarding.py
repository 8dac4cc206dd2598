"""Which events the webhook gets, and as what, by EventBridge's documentation: "Comparison operators for use in event
patterns in Amazon EventBridge" and "Amazon EventBridge input transformation". tests/clients/eventbridge.py has moto's
opinion of the same patterns, on events that `publish` sent.
"""

import itertools
import json
import re
import unittest

import jsonschema

from forwarding import patterns, templates
from stack import ROOT

SCHEMA = json.loads((ROOT / "docs" / "schemas" / "feedback-event.schema.json").read_text())


def matches(pattern, event):
    """Whether an event is of a pattern: of each field one of the alternatives, and of an $or one branch."""
    for name, wanted in pattern.items():
        if name == "$or":
            if not any(matches(branch, event) for branch in wanted):
                return False
        elif isinstance(wanted, dict):
            if not (isinstance(event.get(name), dict) and matches(wanted, event[name])):
                return False
        else:
            values = event[name] if isinstance(event.get(name), list) else [event[name]] if name in event else []
            if not any(fits(one, value) for one in wanted for value in values):
                return False
    return True


def fits(wanted, value):
    if not isinstance(wanted, dict):
        return wanted == value and type(wanted) is type(value)
    ((operator, operand),) = wanted.items()
    match operator:
        case "prefix":
            return isinstance(value, str) and value.startswith(operand)
        case "numeric":
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            pairs = zip(operand[::2], operand[1::2], strict=True)
            compared = {"<": lambda a, b: a < b, "<=": lambda a, b: a <= b}
            return is_number and all(compared[comparison](value, limit) for comparison, limit in pairs)
    raise ValueError(f"{operator} is not understood here")


def event(kind, **after):
    """An event of a record with this content."""
    target = {"trace_id": 'a "trace"'}
    identity = {"workspace": "acme", "id": "019ab2a9-8fc6-7804-83ea-e496e2dd611d"}
    detail = {**identity, "version": 2, "target": target, "stream_event_id": "e"}
    record = {
        "id": identity["id"],
        **target,
        "span_id": None,
        "tracing_project_fqn": None,
        "scale": "rating" if "rating" in after else "value",
        "value": None,
        "weight": None if "rating" in after else 1.0,
        "rating": None,
        "comment": None,
        "reasons": [],
        "metadata": None,
        "created_at": "2026-11-22T03:00:00.000Z",
        "updated_at": "2026-11-22T03:00:01.000Z",
        "version": 2,
        **after,
    }
    if kind != "Deleted":
        detail["after"] = record
    if kind == "Updated":
        detail["before"] = {**record, "value": -10 if record["rating"] is None else None, "comment": "before", "version": 1}
    return {
        "version": "0",
        "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": f"Feedback {kind}",
        "source": "hindsight",
        "account": "123456789012",
        "time": "2026-11-22T03:00:01Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    }


SCORES = [({"value": value}, value < 0) for value in (-10, -1, 0, 1, 10)]
SCORES += [({"rating": rating}, rating <= 2) for rating in range(1, 6)]
COMMENTS = [
    ({}, False),
    ({"metadata": {"_user": "u", "comment": None, "text": 5, "other": "x"}}, False),
    ({"metadata": "not an object"}, False),
    ({"comment": 'It "said"\n<no>'}, True),
    ({"metadata": {"comment": "x"}}, True),
    ({"metadata": {"comments": "x"}}, True),
    ({"metadata": {"text": "x"}}, True),
]


class Forwarding(unittest.TestCase):
    def test_each_filter_lets_through_what_it_says(self):
        rules = patterns()
        self.assertEqual(set(rules), {"all", "negative", "with-comment", "negative-with-comment"})
        seen = {name: set() for name in rules}
        for kind, (score, is_negative), (content, has_comment) in itertools.product(
            ("Created", "Updated", "Deleted"), SCORES, COMMENTS
        ):
            sent = event(kind, **score, **content)
            jsonschema.validate(sent, SCHEMA)
            is_there = kind != "Deleted"
            expected = {
                "all": True,
                "negative": is_there and is_negative,
                "with-comment": is_there and has_comment,
                "negative-with-comment": is_there and is_negative and has_comment,
            }
            for name, passes in expected.items():
                self.assertEqual(matches(rules[name], sent), passes, f"{name}: {json.dumps(sent)}")
                seen[name].add(passes)
        # What is of another source, or has no record since it would be too large.
        for name, pattern in rules.items():
            self.assertFalse(matches(pattern, {**event("Created", value=-1, comment="x"), "source": "other"}))
            large = event("Deleted")
            large["detail-type"], large["detail"]["after_omitted"] = "Feedback Updated", True
            self.assertEqual(matches(pattern, large), name == "all")
            self.assertEqual(seen[name] | {False}, {True, False})

    def test_patterns_are_such_as_eventbridge_takes(self):
        for name, pattern in patterns().items():
            # "Amazon EventBridge quotas": 2,048 characters of a pattern.
            self.assertLessEqual(len(json.dumps(pattern)), 2048, name)

    def test_a_message_for_slack_or_teams_is_json_whatever_the_event_holds(self):
        """"EventBridge doesn't escape values extracted by Input Path", so what is put into a text must need no
        escape: only what Hindsight makes itself. A path that is not in the event leaves nothing."""
        made = templates()
        self.assertEqual(set(made), {"event", "slack", "teams"})
        self.assertIsNone(made.pop("event"))
        ours = {"$.detail-type", "$.detail.workspace", "$.detail.id", "$.detail.after.value", "$.detail.after.rating"}
        for name, transformer in made.items():
            paths, template = transformer["InputPathsMap"], transformer["InputTemplate"]
            self.assertEqual(set(paths.values()), ours)
            self.assertLessEqual(len(template), 8192)
            self.assertEqual(set(re.findall(r"<([\w-]+)>", template)), set(paths))
            for kind, content in itertools.product(("Created", "Deleted"), ({"value": -1}, {"rating": 5})):
                sent = event(kind, comment='"\\\n', **content)
                texts = {key: str(value_at(sent, path) or "") for key, path in paths.items()}
                body = json.loads(re.sub(r"<([\w-]+)>", lambda found: texts[found[1]], template))
                text = {"slack": lambda: body["text"], "teams": lambda: card(body)}[name]()
                self.assertTrue(text.startswith(f"Feedback {kind} in acme (value: "), text)
                link = "https://HttpApi.execute-api.us-east-1.amazonaws.com/console/edit?id=" + sent["detail"]["id"]
                self.assertIn(link, json.dumps(body))


def value_at(event, path):
    for name in path.removeprefix("$.").split("."):
        if not isinstance(event, dict) or name not in event:
            return None
        event = event[name]
    return event


def card(body):
    """The text of Teams' message: an adaptive card (learn.microsoft.com, "Create incoming webhooks with Workflows")."""
    (attachment,) = body["attachments"]
    content = attachment["content"]
    kinds = (body["type"], attachment["contentType"], content["type"])
    expected = ("message", "application/vnd.microsoft.card.adaptive", "AdaptiveCard")
    if kinds != expected:
        raise AssertionError(kinds)
    return content["body"][0]["text"]


if __name__ == "__main__":
    unittest.main()

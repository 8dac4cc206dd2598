"""What the function `langfuse` sends, read with the models of Langfuse's Python SDK, which are made from Langfuse's
OpenAPI. The events are those that a test in functions/langfuse/src/score.rs holds the function to.

    python -m unittest langfuse_scores

It needs `.ci/requirements-moto.txt`.
"""

import json
import pathlib
import re
import unittest

import pydantic
from langfuse.api import IngestionEvent_ScoreCreate, ScoreBody
from langfuse.api.core.pydantic_utilities import parse_obj_as

EVENTS = pathlib.Path(__file__).parent.parent / "fixtures" / "langfuse" / "scores.json"


def names(model):
    """The members that a model has, as they are in JSON: `trace_id` is `traceId`."""
    return {re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name in model.model_fields}


class LangfuseScores(unittest.TestCase):
    def setUp(self):
        self.events = json.loads(EVENTS.read_text())

    def test_each_event_is_one_of_langfuse_s(self):
        self.assertEqual(len(self.events), 3)
        for event in self.events:
            read = parse_obj_as(IngestionEvent_ScoreCreate, event)
            # The models take members that they do not know.
            self.assertLessEqual(set(event), names(IngestionEvent_ScoreCreate))
            self.assertLessEqual(set(event["body"]), names(ScoreBody))
            self.assertEqual((read.type, read.body.id), ("score-create", event["body"]["id"]))
            self.assertEqual((read.body.value, read.body.data_type.value), (event["body"]["value"], "NUMERIC"))
            self.assertEqual(read.body.trace_id, event["body"]["traceId"])
            self.assertEqual(read.body.observation_id, event["body"].get("observationId"))

    def test_another_event_is_not(self):
        for name, value in [("value", None), ("name", None), ("traceId", 5), ("dataType", "NUMBER"), ("comment", 7)]:
            event = {**self.events[0], "body": {**self.events[0]["body"], name: value}}
            with self.assertRaises(pydantic.ValidationError, msg=name):
                parse_obj_as(IngestionEvent_ScoreCreate, event)


if __name__ == "__main__":
    unittest.main()

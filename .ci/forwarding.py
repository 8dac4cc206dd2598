"""The webhook's rule, for each WebhookFilter and WebhookFormat.

    python .ci/forwarding.py        prints the event pattern of each filter as JSON
"""

import json

from stack import Stack, source


def parameter(name):
    return source()["Parameters"][name]["AllowedValues"]


def rule(**parameters):
    """The rule that these parameters make."""
    stack = Stack(Events="on", WebhookUrl="https://hooks.example.com", **parameters)
    return stack.of("AWS::Events::Rule")["WebhookRule"]


def patterns():
    """The event pattern of each filter."""
    return {name: rule(WebhookFilter=name)["EventPattern"] for name in parameter("WebhookFilter")}


def templates():
    """The input transformer of each format; None where the event is posted as it is."""
    formats = parameter("WebhookFormat")
    return {name: rule(WebhookFormat=name)["Targets"][0].get("InputTransformer") for name in formats}


if __name__ == "__main__":
    print(json.dumps(patterns(), indent=2))

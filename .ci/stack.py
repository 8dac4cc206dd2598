"""What CloudFormation would be given: template.yaml, transformed and resolved without an account.

SAM's own translator makes CloudFormation's resources of it, as the service does. Then the
parameters and conditions are worked out, as CloudFormation does, and what refers to a resource
stays as the resource's logical id: `Ref` is `Id`, and `Fn::GetAtt` is `Id.Attribute`.
"""

import logging
import os
import re
from pathlib import Path

from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

ROOT = Path(__file__).resolve().parent.parent

# What every stack has without being given it.
PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackName": "hindsight",
    "AWS::URLSuffix": "amazonaws.com",
}

NOTHING = object()

# It warns of metrics of its own that are not sent anywhere.
logging.getLogger("samtranslator").setLevel(logging.ERROR)


def source():
    """template.yaml as it is written."""
    return yaml_parse((ROOT / "template.yaml").read_text())


class Stack:
    """The stack that these parameters make."""

    def __init__(self, **given):
        os.environ.setdefault("AWS_DEFAULT_REGION", PSEUDO["AWS::Region"])
        template = source()
        self.parameters = {
            name: str(given.pop(name, parameter.get("Default"))) for name, parameter in template["Parameters"].items()
        }
        if given:
            raise ValueError(f"no such parameters: {sorted(given)}")
        for resource in template["Resources"].values():
            if "CodeUri" in resource.get("Properties", {}):
                # The translator wants what `sam package` would have uploaded.
                resource["Properties"]["CodeUri"] = "s3://bucket/key"
        made = Translator({}, Parser()).translate(template, dict(self.parameters))
        self.conditions = made["Conditions"]
        there = {
            name: resource
            for name, resource in made["Resources"].items()
            if "Condition" not in resource or self.holds(resource["Condition"])
        }
        self.ids = set(there)
        self.resources = {name: self.resolve(resource) for name, resource in there.items()}
        self.outputs = {
            name: self.resolve(output["Value"])
            for name, output in made["Outputs"].items()
            if "Condition" not in output or self.holds(output["Condition"])
        }

    def of(self, kind):
        """The properties of all resources of a type, by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def holds(self, condition):
        return self.resolve(self.conditions[condition])

    def refer(self, name):
        """A parameter's value, or a resource's id. A resource that is not made cannot be meant."""
        if name in self.parameters:
            return self.parameters[name]
        if name in PSEUDO:
            return PSEUDO[name]
        if name == "AWS::NoValue":
            return NOTHING
        if name.split(".")[0] not in self.ids:
            raise ValueError(f"{name} is not in this stack")
        return name

    def resolve(self, node):
        if isinstance(node, list):
            return [item for item in map(self.resolve, node) if item is not NOTHING]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            if function in ("Ref", "Condition") or function.startswith("Fn::"):
                return self.call(function, argument)
        resolved = {name: self.resolve(value) for name, value in node.items()}
        return {name: value for name, value in resolved.items() if value is not NOTHING}

    def call(self, function, argument):
        match function:
            case "Ref":
                return self.refer(argument)
            case "Condition":
                return self.holds(argument)
            case "Fn::GetAtt":
                return self.refer(argument if isinstance(argument, str) else ".".join(argument))
            case "Fn::If":
                condition, yes, no = argument
                return self.resolve(yes if self.holds(condition) else no)
            case "Fn::Equals":
                one, other = self.resolve(argument)
                return one == other
            case "Fn::Not":
                return not self.resolve(argument)[0]
            case "Fn::And":
                return all(self.resolve(argument))
            case "Fn::Split":
                separator, text = self.resolve(argument)
                return text.split(separator)
            case "Fn::Sub":
                text, more = argument if isinstance(argument, list) else (argument, {})
                more = {name: self.resolve(value) for name, value in more.items()}

                def value(found):
                    return more[found[1]] if found[1] in more else self.refer(found[1])

                return re.sub(r"\$\{([^!}]+)\}", value, text)
        raise ValueError(f"{function} is not understood here")

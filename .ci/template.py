"""Checks of template.yaml that `sam validate --lint` does not make.

A wrong method in a route passes the linter and fails in the account, and a route that
`cargo lambda watch` has and the template has not fails nowhere. Run it with the python that has
the SAM CLI.
"""

import sys
import tomllib
from pathlib import Path

from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}


def functions(template):
    """The functions by the binary each of them runs."""
    return {
        resource["Metadata"]["BuildProperties"]["Binary"]: resource["Properties"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def deployed_routes(template):
    """What API Gateway routes, as (method, path, function)."""
    return [
        (event["Properties"]["Method"], event["Properties"]["Path"], name)
        for name, function in functions(template).items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "HttpApi"
    ]


def watched_routes(manifest):
    """What `cargo lambda watch` routes, as (method, path, function)."""
    router = manifest["workspace"]["metadata"]["lambda"]["watch"]["router"]
    return [
        (target["method"], path, target["function"])
        for path, targets in router.items()
        for target in targets
    ]


def faults(template, manifest):
    """Everything that is wrong, in a sentence each."""
    deployed, watched = deployed_routes(template), watched_routes(manifest)
    if not deployed:
        yield "template.yaml has no routes"
    for where, routes in (("template.yaml", deployed), ("Cargo.toml", watched)):
        seen = set()
        for method, path, _ in sorted(routes):
            if method not in METHODS:
                yield f"{where}: {method} {path} is not of an HTTP method"
            if (method, path) in seen:
                yield f"{where}: {method} {path} is there twice"
            seen.add((method, path))
    for method, path, function in sorted(set(deployed) - set(watched)):
        yield f"{method} {path} to {function} is in template.yaml, not in Cargo.toml"
    for method, path, function in sorted(set(watched) - set(deployed)):
        yield f"{method} {path} to {function} is in Cargo.toml, not in template.yaml"
    for name, function in functions(template).items():
        if "Role" in function:
            yield f"{name} has a role that is not its own"
        # A template of SAM's or a policy of AWS's is a name, and grants more than is used.
        policies = function.get("Policies")
        statements = [
            statement
            for policy in (policies if isinstance(policies, list) else [policies])
            for statement in (policy.get("Statement", []) if isinstance(policy, dict) else [])
        ]
        if not statements:
            yield f"{name} has no statements in a policy of its own"
        for statement in statements:
            if "*" in str(statement.get("Action", "*")) or "*" in str(statement.get("Resource", "*")):
                yield f"{name} has a policy with an asterisk"


def main():
    template = yaml_parse((ROOT / "template.yaml").read_text())
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    found = list(faults(template, manifest))
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""Checks that everything that names Hindsight's version names the workspace's, in Cargo.toml.

    python .ci/version.py           prints the version
    python .ci/version.py v1.2.3    also checks that this tag is the version's, and that CHANGELOG.md has it
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def version():
    """The workspace's version."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def mismatches(expected, tag=None):
    """A line for each place that names another version."""
    specification = re.search(r"^info:\n(?:  .*\n)*?  version: (\S+)$", (ROOT / "openapi.yaml").read_text(), re.M)
    if specification is None or specification[1] != expected:
        yield f"openapi.yaml: info.version: expected {expected}, got {specification and specification[1]}"
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    for member in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]:
        package = tomllib.loads((ROOT / member / "Cargo.toml").read_text())["package"]
        if package["version"] != {"workspace": True}:
            yield f"{member}/Cargo.toml: package.version: expected version.workspace = true, got {package['version']!r}"
        for locked in (entry for entry in lock["package"] if entry["name"] == package["name"] and "source" not in entry):
            if locked["version"] != expected:
                yield f"Cargo.lock: {package['name']}: expected {expected}, got {locked['version']}"
    if tag is None:
        return
    if tag != f"v{expected}":
        yield f"tag: expected v{expected}, got {tag}"
    if not re.search(rf"^## \[?{re.escape(expected)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M):
        yield f"CHANGELOG.md: expected a section {expected}, got none"


def main():
    expected = version()
    wrong = list(mismatches(expected, *sys.argv[1:2]))
    for line in wrong:
        print(line, file=sys.stderr)
    print(expected)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

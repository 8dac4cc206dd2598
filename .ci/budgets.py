"""Fails when a function has grown: its binary in the release profile, or what it depends on. And when
the binary tells where it was built.

Both are the same on every machine of one kind, unlike times. A budget is a little above what was
measured; raise it in the change that needs it, so that growth is seen in a review.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def dependencies(package):
    """How many packages are linked into a function, itself included."""
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--package", package, "--edges", "normal", "--prefix", "none"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    # A package that was printed before is marked so.
    return len({line.removesuffix(" (*)") for line in tree.stdout.splitlines() if line})


def build_paths(binary):
    """The folders of this machine that a binary names: cargo's, the workspace and the home folder."""
    cargo = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    # A home of / would be in every path.
    folders = {str(folder) for folder in (cargo, ROOT, Path.home())} - {"/"}
    return sorted(folder for folder in folders if f"{folder}/".encode() in binary)


def main():
    budgets = tomllib.loads((ROOT / ".ci" / "budgets.toml").read_text())
    over = False
    print(f"{'function':<10} {'bytes':>10} {'budget':>10} {'packages':>10} {'budget':>10}")
    for name, budget in budgets.items():
        size = (ROOT / "target" / "release" / name).stat().st_size
        count = dependencies(name)
        is_over = size > budget["bytes"] or count > budget["packages"]
        over = over or is_over
        print(
            f"{name:<10} {size:>10} {budget['bytes']:>10} {count:>10} {budget['packages']:>10}"
            + ("  over its budget" if is_over else "")
        )
        for folder in build_paths((ROOT / "target" / "release" / name).read_bytes()):
            print(f"{name}: names {folder}, where it was built; .cargo/rustc is there to leave it out")
            over = True
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())

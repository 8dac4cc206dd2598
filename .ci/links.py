"""Checks what the documents point at: every relative link and anchor of the repository's Markdown files, every
path that they name in backticks, and every test that the contributors' documents name.

    python .ci/links.py

Prints a line for each that does not exist, and exits with 1 if there is one. It opens no URL.
"""

import pathlib
import re
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent

FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.M | re.S)
HEADING = re.compile(r"^(#{1,6}) +(.+?) *#* *$", re.M)
# `[text](target)`, the text perhaps over two lines; an image is one too.
LINK = re.compile(r"\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
REFERENCE = re.compile(r"^ {0,3}\[[^\]]+\]: +<?([^\s>]+)>?", re.M)
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
# A path from the root: a folder that the repository has, and no placeholder in it.
FOLDERS = ("shared/", "functions/", "local/", "tests/", "bench/", "fuzz/", "docs/", "web/", "examples/", ".ci/", ".github/")
PATH = re.compile(r"[\w./*-]+")
# The name of a test: a sentence. Shorter names with underscores are fields.
TEST = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+){3,}")


def files():
    """The Markdown files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def prose(text):
    """The text without code blocks."""
    return FENCE.sub("", text)


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    found = set()
    for _, heading in HEADING.findall(prose(text)):
        heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        number, name = 0, anchor
        while name in found:
            number += 1
            name = f"{anchor}-{number}"
        found.add(name)
    return found


def links(text):
    """The targets of a document's links, code aside."""
    text = CODE.sub("", prose(text))
    return LINK.findall(text) + REFERENCE.findall(text)


def broken_links(file):
    """What a document's links point at and is not there."""
    for target in links(file.read_text()):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        path = urllib.parse.unquote(path)
        other = (file.parent / path).resolve() if path else file
        if not other.is_relative_to(ROOT) or not other.exists():
            yield f"{target}: no such file"
        elif anchor and other.suffix == ".md" and urllib.parse.unquote(anchor) not in anchors(other.read_text()):
            yield f"{target}: no such heading"


def is_ignored(path):
    """Whether git ignores a path, so that it is there only after some command has made it."""
    asked = ["git", "check-ignore", path, f"{path}/"]
    return subprocess.run(asked, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def broken_names(file, tests):
    """The paths that a document names in backticks and that are not there; and of a document for contributors
    the tests."""
    names_tests = file.parent == ROOT or file.parent.name == "internals"
    for name in CODE.findall(prose(file.read_text())):
        if name.startswith(FOLDERS) and PATH.fullmatch(name) and name == name.lower():
            if not any(ROOT.glob(name)) and not is_ignored(name):
                yield f"`{name}`: no such file"
        elif names_tests and TEST.fullmatch(name) and name not in tests:
            yield f"`{name}`: no such test or function"


def functions():
    """The names of all functions of the Rust and Python code."""
    found = set()
    for pattern, definition in (("*.rs", r"\bfn (\w+)"), ("*.py", r"\bdef (\w+)")):
        for folder in FOLDERS:
            for file in (ROOT / folder).rglob(pattern):
                found.update(re.findall(definition, file.read_text()))
    return found


def main():
    names, broken = functions(), []
    documents = files()
    for file in documents:
        faults = [*broken_links(file), *broken_names(file, names)]
        broken += [f"{file.relative_to(ROOT)}: {fault}" for fault in faults]
    print("\n".join(broken) or f"{len(documents)} documents: every link, anchor, path and test is there")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()

"""Packs the compiled functions into a file that `sam deploy` deploys without `sam build`.

    python .ci/package.py arm64 target/lambda target/release-files

The first folder has each function's binary as NAME/bootstrap, as cargo-lambda leaves it, or as NAME. The file
is hindsight-VERSION-ARCHITECTURE.zip: a folder for each function, template.yaml, samconfig.toml, LICENSE and
CHANGELOG.md. SHA256SUMS beside it has the sums of all such files there. The same input makes the same bytes.
"""

import hashlib
import re
import sys
import zipfile
from pathlib import Path

from version import ROOT, version

FUNCTIONS = ("aggregate", "analytics", "console", "create", "delete", "erase", "langfuse", "publish", "read", "update", "vote")
# Each architecture's number in an ELF header (e_machine of the ELF specification).
ARCHITECTURES = {"arm64": 183, "x86_64": 62}

# The C library of Lambda's runtime provided.al2023: 2.34. A binary that asks for a newer one does not start.
GLIBC = 34


def replaced(pattern, replacement, text, count):
    """The text with every match replaced, of which there must be `count`."""
    text, found = re.subn(pattern, replacement, text, flags=re.M)
    if found != count:
        raise ValueError(f"template.yaml: expected {count} of {pattern!r}, got {found}")
    return text


def packaged(template, architecture):
    """The template for compiled functions: their folders, no build, and no other processor."""
    template = replaced(r"^( +)CodeUri: functions/(\w+)/$", r"\1CodeUri: \2/", template, len(FUNCTIONS))
    template = replaced(
        r"^    Metadata:\n      BuildMethod: rust-cargolambda\n      BuildProperties:\n        Binary: \w+\n",
        "",
        template,
        len(FUNCTIONS),
    )
    return replaced(
        r"^    Default: arm64\n    AllowedValues: \[arm64, x86_64\]$",
        f"    Default: {architecture}\n    AllowedValues: [{architecture}]",
        template,
        1,
    )


def binary(folder, name):
    """A function's binary below a folder."""
    for path in (folder / name / "bootstrap", folder / name):
        if path.is_file():
            return path.read_bytes()
    raise FileNotFoundError(f"{folder}: expected {name}/bootstrap or {name}, got neither")


def check(name, content, architecture):
    """Refuses a binary that Lambda could not start."""
    machine = int.from_bytes(content[18:20], "little") if content.startswith(b"\x7fELF") else None
    if machine != ARCHITECTURES[architecture]:
        raise ValueError(f"{name}: expected an ELF binary for {architecture}, got machine {machine}")
    newest = max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", content)), default=0)
    if newest > GLIBC:
        raise ValueError(f"{name}: expected to need glibc 2.{GLIBC} at most, got 2.{newest}")


def add(archive, name, content, mode):
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    # 3 is Unix: elsewhere the mode would be ignored, and Lambda does not start what is not executable.
    entry.create_system = 3
    entry.external_attr = (0o100000 | mode) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(entry, content, compresslevel=9)


def package(architecture, binaries, target):
    """Writes the file and SHA256SUMS to a folder, and returns the file's path."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture: expected {' or '.join(ARCHITECTURES)}, got {architecture}")
    bootstraps = {name: binary(binaries, name) for name in FUNCTIONS}
    for name, content in bootstraps.items():
        check(name, content, architecture)
    target.mkdir(parents=True, exist_ok=True)
    path = target / f"hindsight-{version()}-{architecture}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in bootstraps.items():
            add(archive, f"{name}/bootstrap", content, 0o755)
        template = packaged((ROOT / "template.yaml").read_text(), architecture)
        add(archive, "template.yaml", template.encode(), 0o644)
        for name in ("samconfig.toml", "LICENSE", "CHANGELOG.md"):
            add(archive, name, (ROOT / name).read_bytes(), 0o644)
    files = sorted(target.glob("hindsight-*.zip"))
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (target / "SHA256SUMS").write_text("".join(sums))
    return path


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    print(package(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))


if __name__ == "__main__":
    main()

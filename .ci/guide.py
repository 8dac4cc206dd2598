"""What docs/local.md says to type for `sam local start-api`, so that .ci/run does the same.

    python .ci/guide.py files FOLDER    makes the files that it makes of template.yaml, in a folder
    python .ci/guide.py command         prints the command that serves
"""

import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def script():
    """The section's script: what makes the files, and the commands of the SAM CLI by their names."""
    guide = (ROOT / "docs" / "local.md").read_text()
    section = guide.split("\n## sam local start-api\n", 1)[1]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    block = next(block for block in blocks if "sam local start-api" in block)
    files, build, serve = re.fullmatch(r"(.*?)^(sam build .*?)^(sam local start-api .*)", block, re.M | re.S).groups()
    return files, build, re.sub(r"\\\n\s*", "", serve).strip()


def main():
    match sys.argv[1:]:
        case ["files", folder]:
            shutil.copy(ROOT / "template.yaml", folder)
            subprocess.run(["bash", "-euc", script()[0]], cwd=folder, check=True)
        case ["command"]:
            print(script()[2])
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()

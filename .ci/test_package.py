"""The files of a release: what is in them, and that the SAM CLI takes them as they are.

    python -m unittest test_package
"""

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from package import ARCHITECTURES, FUNCTIONS, package, packaged
from stack import ROOT, source
from samcli.yamlhelper import yaml_parse
from version import mismatches, version


class Package(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.binaries = self.folder / "lambda"
        for name in FUNCTIONS:
            (self.binaries / name).mkdir(parents=True)

    def compile(self, architecture, needs="GLIBC_2.34"):
        """What stands in for the compiled functions: the beginning of an ELF file, and a version that it needs."""
        for name in FUNCTIONS:
            header = b"\x7fELF".ljust(18, b"\0") + ARCHITECTURES[architecture].to_bytes(2, "little")
            (self.binaries / name / "bootstrap").write_bytes(header + f"{name} {needs}".encode())

    def unpacked(self, architecture):
        self.compile(architecture)
        path = package(architecture, self.binaries, self.folder / "files")
        self.assertEqual(path.name, f"hindsight-{version()}-{architecture}.zip")
        target = self.folder / architecture
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                # zipfile drops the modes, which unzip keeps of what was packed on Unix.
                self.assertEqual(entry.create_system, 3)
                Path(archive.extract(entry, target)).chmod(entry.external_attr >> 16 & 0o777)
        return target

    def test_a_file_holds_what_a_deployment_needs_and_nothing_else(self):
        for architecture in ARCHITECTURES:
            folder = self.unpacked(architecture)
            files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
            expected = {f"{name}/bootstrap" for name in FUNCTIONS}
            self.assertEqual(files, expected | {"template.yaml", "samconfig.toml", "LICENSE", "CHANGELOG.md"})
            for name in FUNCTIONS:
                bootstrap = folder / name / "bootstrap"
                self.assertEqual(stat.S_IMODE(bootstrap.stat().st_mode), 0o755)
                self.assertEqual(bootstrap.read_bytes(), (self.binaries / name / "bootstrap").read_bytes())

    def test_the_template_differs_in_code_build_and_processor_alone(self):
        for architecture in ARCHITECTURES:
            template, expected = yaml_parse(packaged((ROOT / "template.yaml").read_text(), architecture)), source()
            functions = {
                name: resource
                for name, resource in expected["Resources"].items()
                if resource["Type"] == "AWS::Serverless::Function"
            }
            self.assertEqual(len(functions), len(FUNCTIONS))
            for name, function in functions.items():
                folder = function["Metadata"]["BuildProperties"]["Binary"]
                self.assertEqual(template["Resources"][name]["Properties"]["CodeUri"], f"{folder}/")
                del function["Metadata"]
                function["Properties"]["CodeUri"] = f"{folder}/"
            expected["Parameters"]["Architecture"]["Default"] = architecture
            expected["Parameters"]["Architecture"]["AllowedValues"] = [architecture]
            self.assertEqual(template, expected)

    def test_sam_takes_it_without_a_build(self):
        folder = self.unpacked("x86_64")
        environment = {**os.environ, "SAM_CLI_TELEMETRY": "0", "AWS_DEFAULT_REGION": "us-east-1"}
        sam = Path(sys.executable).parent / "sam"
        done = subprocess.run(
            [sam, "validate", "--lint"], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_same_input_makes_the_same_bytes_and_the_sums_are_of_all_files(self):
        target = self.folder / "files"
        paths = []
        for architecture in ARCHITECTURES:
            self.compile(architecture)
            paths.append(package(architecture, self.binaries, target))
        first = [path.read_bytes() for path in paths]
        for architecture in ARCHITECTURES:
            self.compile(architecture)
            os.utime(self.binaries / "read" / "bootstrap", (0, 0))
            package(architecture, self.binaries, target)
        self.assertEqual([path.read_bytes() for path in paths], first)
        sums = dict(reversed(line.split("  ")) for line in (target / "SHA256SUMS").read_text().splitlines())
        self.assertEqual(sums, {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths})

    def test_a_function_that_lambda_could_not_start_is_refused(self):
        files = self.folder / "files"
        self.compile("x86_64")
        with self.assertRaisesRegex(ValueError, "aggregate: expected an ELF binary for arm64, got machine 62"):
            package("arm64", self.binaries, files)
        self.compile("arm64", needs="GLIBC_2.36")
        with self.assertRaisesRegex(ValueError, "aggregate: expected to need glibc 2.34 at most, got 2.36"):
            package("arm64", self.binaries, files)
        self.assertFalse(files.exists())

    def test_a_function_that_is_missing_is_named(self):
        self.compile("arm64")
        (self.binaries / "read" / "bootstrap").unlink()
        with self.assertRaisesRegex(FileNotFoundError, "read/bootstrap"):
            package("arm64", self.binaries, self.folder / "files")
        with self.assertRaisesRegex(ValueError, "architecture: expected arm64 or x86_64, got arm"):
            package("arm", self.binaries, self.folder / "files")

    def test_a_template_of_another_shape_is_refused(self):
        template = (ROOT / "template.yaml").read_text()
        with self.assertRaises(ValueError):
            packaged(template.replace("CodeUri: functions/read/", "CodeUri: elsewhere/"), "arm64")

    def test_there_is_one_version(self):
        self.assertEqual(list(mismatches(version())), [])
        self.assertIn("tag: expected v", " ".join(mismatches(version(), "v0.0.0-none")))


if __name__ == "__main__":
    unittest.main()

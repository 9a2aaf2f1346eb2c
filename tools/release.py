"""Make a release, or play one without leaving anything but files: docs/release.md says when which.

Usage: release.py prepare VERSION   write the version into the checkout, and close the changelog's section
       release.py check VERSION     whether everything names that version, and its tag can be made
       release.py chart FOLDER      package the chart alone
       release.py build VERSION FOLDER      check, then fill the folder with what is published
       release.py dry-run FOLDER [VERSION]  all of it on a copy of the last commit
"""

import argparse
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHART = Path("charts/kagenti-operator")
CHANGELOG = Path("CHANGELOG.md")
_VERSION = r"\d+\.\d+\.\d+"
# Each place that names the version, as what stands before it.
PLACES = (
    (Path("pyproject.toml"), r'^version = "'),
    (Path("devcluster/pyproject.toml"), r'^version = "'),
    (CHART / "Chart.yaml", r"^version: "),
    (CHART / "Chart.yaml", r"^appVersion: "),
    (Path("README.md"), r"registry\.example\.com/kagenti-operator:"),
    (CHART / "README.md", r"registry\.example\.com/kagenti-operator:"),
)
# What the artifacts are made of beside the commit.
_LOCKS = ("requirements/build.txt", "requirements/image.txt", "requirements/run.txt")


class ReleaseFailed(Exception):
    """A release cannot be made so; the message says why, a line for each reason."""


def main() -> int:
    """Do what the first argument says."""
    parser = argparse.ArgumentParser(description="Make a release, or play one.")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the checkout")
    actions = parser.add_subparsers(dest="action", required=True)
    for action, arguments in {
        "prepare": ("version",),
        "check": ("version",),
        "chart": ("folder",),
        "build": ("version", "folder"),
    }.items():
        sub = actions.add_parser(action)
        for argument in arguments:
            sub.add_argument(argument)
    dry = actions.add_parser("dry-run")
    dry.add_argument("folder")
    dry.add_argument("version", nargs="?")
    options = parser.parse_args()
    root: Path = options.root.resolve()
    try:
        match options.action:
            case "prepare":
                prepare(root, options.version, released(root))
                print(f"{options.version} is written; now `make golden`, `make lint`, and commit")
            case "check":
                check(root, options.version, released(root))
            case "chart":
                package_chart(root, Path(options.folder).resolve())
            case "build":
                check(root, options.version, released(root))
                build(root, options.version, Path(options.folder).resolve(), commit(root))
            case _:
                play(root, options.version or upcoming(root), Path(options.folder).resolve())
    except ReleaseFailed as failure:
        print(f"release: {failure}", file=sys.stderr)
        return 1
    return 0


def prepare(root: Path, version: str, tags: Sequence[str]) -> None:
    """Write the version everywhere, and turn what is unreleased in the changelog into its section."""
    refuse(version_problems(version, tags))
    text = (root / CHANGELOG).read_text()
    if not section(text, "Unreleased"):
        raise ReleaseFailed(f"{CHANGELOG}: nothing is unreleased")
    for path, before in PLACES:
        file = root / path
        file.write_text(
            re.sub(f"({before}){_VERSION}", rf"\g<1>{version}", file.read_text(), flags=re.MULTILINE)
        )
    today = datetime.datetime.now(datetime.UTC).date()
    heading = f"## [Unreleased]\n\n## [{version}] - {today}"
    (root / CHANGELOG).write_text(text.replace("## [Unreleased]", heading, 1))


def check(root: Path, version: str, tags: Sequence[str]) -> None:
    """Raise ReleaseFailed with everything that does not fit a release of that version."""
    problems = version_problems(version, tags)
    for path, before in PLACES:
        text = (root / path).read_text()
        for named in re.findall(f"{before}({_VERSION})", text, re.MULTILINE) or ["none"]:
            if named != version:
                problems.append(f"{path}: version {named} instead of {version}")
    text = (root / CHANGELOG).read_text()
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE):
        problems.append(f"{CHANGELOG}: no section `## [{version}] - DATE`")
    elif not section(text, version):
        problems.append(f"{CHANGELOG}: the section of {version} is empty")
    refuse(problems)


def version_problems(version: str, tags: Sequence[str]) -> list[str]:
    """What is wrong with a version after the releases that these tags name."""
    if not re.fullmatch(_VERSION, version):
        return [f"{version!r} is no version of the form 1.2.3"]
    return [f"{version} does not come after {tag}" for tag in tags if parts(tag) >= parts(version)]


def refuse(problems: Sequence[str]) -> None:
    """Raise ReleaseFailed if there are any."""
    if problems:
        raise ReleaseFailed("\n  ".join(["this cannot be released:", *problems]))


def parts(version: str) -> tuple[int, ...]:
    """Split a version, or its tag, into numbers that compare."""
    return tuple(map(int, version.removeprefix("v").split(".")))


def section(changelog: str, heading: str) -> str:
    """Return what the changelog says under a heading, empty when that is nothing."""
    found = re.search(rf"^## \[{re.escape(heading)}\].*\n((?:(?!## \[).*\n?)*)", changelog, re.MULTILINE)
    return found[1].strip() if found else ""


def upcoming(root: Path) -> str:
    """Return the version that a dry run plays: the tree's, or the next minor one if that is out already."""
    version = re.findall(f'^version = "({_VERSION})"', (root / "pyproject.toml").read_text(), re.MULTILINE)[0]
    if f"v{version}" not in git(root, "tag", "--list").split():
        return version
    major, minor, _ = parts(version)
    return f"{major}.{minor + 1}.0"


def play(root: Path, version: str, folder: Path) -> None:
    """Prepare and build that version on a copy of the last commit. Nothing is pushed, and no tag is made."""
    print(f"playing the release of {version} from commit {commit(root)[:12]}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary)
        archive = copy / "source.tar"
        run(["git", "archive", "--output", str(archive), "HEAD"], root)
        shutil.unpack_archive(archive, copy, filter="data")
        archive.unlink()
        prepare(copy, version, released(root))
        check(copy, version, released(root))
        build(copy, version, folder, commit(root))
    print("not played, because it takes a registry and an identity: pushing, signing, the attestation")


def build(root: Path, version: str, folder: Path, revision: str) -> None:
    """Fill the folder: wheel, sdist, chart, the image's bill of materials, notes, checksums, provenance."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    started = datetime.datetime.now(datetime.UTC)
    run([sys.executable, "-m", "hatchling", "build", "--directory", str(folder)], root)
    package_chart(root, folder)
    bill = folder / f"kagenti-operator-{version}.sbom.cdx.json"
    with tempfile.TemporaryDirectory() as image:
        run([str(root / "tools" / "image.sh"), image], root, PYTHON=sys.executable)
        shutil.copy(Path(image) / "sbom.cdx.json", bill)
    (folder / "NOTES.md").write_text(section((root / CHANGELOG).read_text(), version) + "\n")
    subjects = {file.name: sha256(file) for file in sorted(folder.iterdir())}
    sums = "".join(f"{digest}  {name}\n" for name, digest in subjects.items())
    (folder / "SHA256SUMS").write_text(sums)
    statement = provenance(root, version, revision, subjects, started)
    (folder / "provenance.json").write_text(json.dumps(statement, indent=2) + "\n")
    print(sums, end="")
    print("in the image, beside its base:", ", ".join(components(json.loads(bill.read_text()))))


def package_chart(root: Path, folder: Path) -> None:
    """Package the chart, as it is, for an OCI registry."""
    helm = (sys.executable, str(Path(__file__).with_name("run.py")), "helm")
    run([*helm, "package", str(CHART), "--destination", str(folder)], root)


def provenance(
    root: Path, version: str, revision: str, subjects: dict[str, str], started: datetime.datetime
) -> dict[str, Any]:
    """Return the in-toto statement (SLSA provenance 1.0) of a build, unsigned.

    It says what was built of what. Who built it only a signature can say: the workflow's attestation.
    """
    bases = re.findall(r"^FROM (\S+)@sha256:(\S+)", (root / "Dockerfile").read_text(), re.MULTILINE)
    materials = [
        {"uri": "git:HEAD", "digest": {"gitCommit": revision}},
        *({"uri": f"file:{lock}", "digest": {"sha256": sha256(root / lock)}} for lock in _LOCKS),
        *({"uri": f"docker:{name}", "digest": {"sha256": digest}} for name, digest in bases),
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://kagenti.dev/build/release-py/v1",
                "externalParameters": {"version": version},
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": {"id": "https://kagenti.dev/build/unsigned"},
                "metadata": {
                    "startedOn": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "finishedOn": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                },
            },
        },
    }


def components(bill: dict[str, Any]) -> list[str]:
    """Return name and version of everything on a CycloneDX bill of materials."""
    return sorted(f"{part['name']} {part['version']}" for part in bill["components"])


def released(root: Path) -> list[str]:
    """Return the tags of the releases before this one: not one that is on the last commit already."""
    tags = git(root, "tag", "--list", "v*", "--no-contains", "HEAD").split()
    return [tag for tag in tags if re.fullmatch(f"v{_VERSION}", tag)]


def commit(root: Path) -> str:
    """Return the last commit."""
    return git(root, "rev-parse", "HEAD").strip()


def git(root: Path, *arguments: str) -> str:
    """Return what git answers. Raises ReleaseFailed."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseFailed(f"`git {' '.join(arguments)}` in {root}: {done.stderr.strip()}")
    return done.stdout


def sha256(file: Path) -> str:
    """Return the digest of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def run(command: Sequence[str], folder: Path, **environ: str) -> None:
    """Run a command, whose output is shown only when it fails. Raises ReleaseFailed."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()
        raise ReleaseFailed(f"`{' '.join(command)}` ended with {done.returncode}:\n{said}")


if __name__ == "__main__":
    sys.exit(main())

"""What the documents say: their links, and their blocks of code, sorted into commands, manifests and text."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
# A block that begins with one of these is commands, all of them.
PROGRAMS = (
    "kubectl",
    "helm",
    "make",
    "kagenti-operator",
    "kagenti-devcluster",
    "tools/image.sh",
    ".venv/bin/pytest",
    ".venv/bin/python",
    "python",
    "pip",
    "podman",
    "docker",
    "git",
    "curl",
    "sed",
    "grep",
    "jq",
    "cosign",
    "gh",
    "sha256sum",
)
# Blocks that are neither commands nor manifests, by their beginning.
TEXTS = (
    "kagenti-operator on a cluster of real binaries",
    "DataScienceCluster ─┐",
    "bin/<tool>/<version>-<digest>/<tool>",
    "--set controllerManager.replicas=3",
    "def test_seed_23() -> None:",
    "operator → ConfigMap → collector",
    "invoke_agent weather-agent",
)
# `name=value` before a command, or alone.
_ASSIGNMENT = re.compile(r"[A-Z_]+=(\S*\$\(|\S*\s+)")
_FENCE = re.compile(r"\s*(```|~~~)\s*(\w*)")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"#{1,6} +(.*)")
_INLINE = re.compile(r"`([^`]+)`")
# Stands for what people fill in; a shell would read a redirection in it.
_PLACEHOLDER = re.compile(r"<([a-z][a-z -]*)>")
# Notes its call in a file of its own, as those of a pipe run at the same time.
_STUB = """\
#!/bin/bash
printf '%s\\0' "$(basename "$0")" "$@" > "$CALLS/$$"
"""


class Kind(Enum):
    """What a block of code is."""

    COMMANDS = "commands"
    MANIFESTS = "manifests"
    PYTHON = "python"
    TEXT = "text"


@dataclass(frozen=True)
class Block:
    """A block of code, without its indentation, and where it begins."""

    document: Path
    line: int
    text: str

    @property
    def where(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def kind(self) -> Kind | None:
        """None where nobody said what it is."""
        if self.text.startswith(TEXTS):
            return Kind.TEXT
        first = _ASSIGNMENT.sub("", self.text).split(maxsplit=1)[0]
        if first in PROGRAMS or first == "cd":
            return Kind.COMMANDS
        if first == "import":
            return Kind.PYTHON
        return Kind.MANIFESTS if self.text.startswith(("apiVersion:", "images:")) else None

    @property
    def script(self) -> str:
        """The commands for a shell, with a word in the place of each placeholder."""
        return _PLACEHOLDER.sub(lambda found: re.sub(r"\W", "-", found[1]), self.text)

    @property
    def manifests(self) -> list[dict[str, object]]:
        return [*yaml.safe_load_all(self.text)]


def find_documents() -> list[Path]:
    """Every document of the checkout that people read."""
    patterns = ("*.md", "docs/**/*.md", "charts/**/*.md", "examples/**/*.md", ".github/**/*.md")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def find_blocks(document: Path) -> Iterator[Block]:
    """Blocks that are indented by four after an empty line, and fenced ones."""
    lines = document.read_text().splitlines()
    at = 0
    while at < len(lines):
        if fence := _FENCE.match(lines[at]):
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == fence[1])
            yield Block(document, at + 2, "\n".join(lines[at + 1 : end]) + "\n")
            at = end + 1
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            end = at
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            text = "\n".join(line[4:] for line in lines[at:end]).rstrip()
            yield Block(document, at + 1, text + "\n")
            at = end
        else:
            at += 1


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    lines = document.read_text().splitlines()
    for block in find_blocks(document):
        for number in range(block.line - 1, block.line - 1 + block.text.count("\n")):
            lines[number] = ""
    return "\n".join(lines)


def find_links(document: Path) -> list[str]:
    """Where a document's links and figures lead to, as they are written."""
    return _LINK.findall(_INLINE.sub("", prose(document)))


def find_anchors(document: Path) -> set[str]:
    """The anchors that a forge makes of a document's headings."""
    found: set[str] = set()
    for line in prose(document).splitlines():
        if heading := _HEADING.fullmatch(line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            found.add(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return found


def find_inline_commands(document: Path) -> list[list[str]]:
    """Commands in the prose, as their words: a program's name, and more than that."""
    found = (_PLACEHOLDER.sub("x", code) for code in _INLINE.findall(prose(document)))
    return [words for code in found if (words := _words(code)) and words[0] in PROGRAMS and len(words) > 1]


def _words(code: str) -> list[str]:
    try:
        return shlex.split(code.partition("|")[0])
    except ValueError:
        return []


def find_calls(block: Block, folder: Path) -> list[list[str]]:
    """The words of each command that a shell runs for a block, in pipes and in `$(...)` too.

    Stubs stand for all programs, and note how they are called. Raises CalledProcessError for what the shell
    does not understand, and for a program that has no stub.
    """
    for program in PROGRAMS:
        stub = folder / ("bin" if "/" not in program else "") / program
        stub.parent.mkdir(parents=True, exist_ok=True)
        stub.write_text(_STUB)
        stub.chmod(0o755)
    (folder / "bin" / "basename").symlink_to("/usr/bin/basename")
    for place in (ROOT / "examples").iterdir():
        (folder / "examples" / place.name).mkdir(parents=True, exist_ok=True)
    calls = folder / "calls"
    calls.mkdir()
    environment = {"PATH": str(folder / "bin"), "CALLS": str(calls), "HOME": str(folder)}
    script = f"set -eo pipefail\n{block.script}\nwait\n"
    subprocess.run(
        ["/bin/bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return [call.read_text().removesuffix("\0").split("\0") for call in sorted(calls.iterdir())]

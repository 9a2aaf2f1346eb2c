"""Every command in the documents is one that its program understands, and every manifest is one.

Those that ask a cluster are run on one by tests/integration/platform/test_documented_commands.py.
"""

import argparse
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import pytest

from kagenti_devcluster.cli.main import build_parser as build_devcluster_parser
from kagenti_devcluster.toolchain import binaries
from kagenti_operator.cli.main import build_parser
from tests.support.documents import (
    ROOT,
    TEXTS,
    Block,
    Kind,
    find_blocks,
    find_calls,
    find_documents,
    find_inline_commands,
)

BLOCKS = [block for document in find_documents() for block in find_blocks(document)]
# Nobody listens there: a program that understands its command gets as far as this.
NOWHERE = "127.0.0.1:1"
KUBECONFIG = f"""
apiVersion: v1
kind: Config
clusters: [{{name: nowhere, cluster: {{server: "http://{NOWHERE}"}}}}]
contexts: [{{name: nowhere, context: {{cluster: nowhere}}}}]
current-context: nowhere
"""
UNREACHABLE = ("refused", "unreachable")
SOMETHING = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: something}\n"


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nowhere") / "kubeconfig"
    path.write_text(KUBECONFIG)
    return path


def ask_cluster(kubeconfig: Path, program: str, words: Sequence[str]) -> None:
    """It asks the cluster, or is done without one: the flags and arguments are understood."""
    # Half of a command, in a sentence.
    if len(words) < 3 or "..." in words:
        words = (*(word for word in words if word != "..." and not word.startswith("-")), "--help")
    environment = {"PATH": os.environ["PATH"], "HOME": str(kubeconfig.parent), "KUBECONFIG": str(kubeconfig)}
    call = [binaries.find(program), *words]
    done = subprocess.run(
        call, cwd=ROOT, env=environment, input=SOMETHING, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or any(word in done.stderr for word in UNREACHABLE), done.stderr


def ask_helm(kubeconfig: Path, words: Sequence[str]) -> None:
    ask_cluster(kubeconfig, "helm", words)
    if words[0] in ("install", "upgrade") and len(words) > 3:
        chart = next(i for i, word in enumerate(words) if word.startswith("charts/"))
        values = [word for word in words[chart:] if not word.startswith(("--create-", "--reset-"))]
        ask_cluster(kubeconfig, "helm", ["template", words[chart - 1], *values])


@cache
def ask_make(*words: str) -> None:
    call = ["make", "--dry-run", "--no-print-directory", *words]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def ask_parser(build: Callable[[], argparse.ArgumentParser], words: Sequence[str]) -> None:
    code: object = 0
    try:
        build().parse_args(words)
    except SystemExit as ended:
        code = ended.code
    assert code == 0, words


def find_files(words: Sequence[str]) -> None:
    """Whatever looks like a path of this checkout is one."""
    for word in words:
        if word.startswith(("tests/", "examples/", "tools/", "docs/")):
            assert (ROOT / word.partition("::")[0]).exists(), word


def check(kubeconfig: Path, words: Sequence[str]) -> None:
    program, *rest = words
    checks: Mapping[str, Callable[[Sequence[str]], object]] = {
        "kubectl": partial(ask_cluster, kubeconfig, "kubectl"),
        "helm": partial(ask_helm, kubeconfig),
        "make": lambda words: ask_make(*words),
        "kagenti-operator": partial(ask_parser, build_parser),
        "kagenti-devcluster": partial(ask_parser, build_devcluster_parser),
    }
    # What is not this project's is understood by the shell, which is all that is known here.
    checks.get(program, find_files)(rest)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_a_block_of_code_is_understood(block: Block, kubeconfig: Path, tmp_path: Path) -> None:
    match block.kind:
        case Kind.COMMANDS:
            calls = find_calls(block, tmp_path)
            assert calls
            for words in calls:
                check(kubeconfig, words)
        case Kind.MANIFESTS:
            assert all(isinstance(manifest, dict) for manifest in block.manifests)
        case Kind.PYTHON:
            compile(block.text, block.where, "exec")
        case Kind.TEXT:
            pass
        case None:
            pytest.fail(
                f"{block.where} is no commands of a program that tests/support/documents.py knows, no "
                "manifest, and none of its TEXTS"
            )


@pytest.mark.parametrize("document", find_documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_in_a_sentence_is_understood(document: Path, kubeconfig: Path) -> None:
    for words in find_inline_commands(document):
        check(kubeconfig, words)


def test_every_text_that_is_excepted_is_there() -> None:
    assert [text for text in TEXTS if not any(block.text.startswith(text) for block in BLOCKS)] == []


@pytest.mark.parametrize(
    "words",
    [
        ["kubectl", "get", "pods", "--no-such-flag"],
        ["helm", "upgrade", "--install", "x", "charts/kagenti-operator", "--set", "mlflow.enabled=true"],
        ["make", "no-such-target"],
        ["kagenti-operator", "run", "--no-such-flag"],
        [".venv/bin/pytest", "tests/no-such-folder"],
    ],
    ids=lambda words: words[0],
)
def test_a_command_that_is_wrong_is_found(words: list[str], kubeconfig: Path) -> None:
    with pytest.raises(AssertionError):
        check(kubeconfig, words)

"""What kube-score says of every rendered variant, and why some of it is not followed."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kagenti_devcluster.toolchain import binaries

RENDERED = sorted((Path(__file__).parent / "cases").glob("*.golden.yaml"))
OPERATOR = "Deployment kagenti-controller-manager"
TEST = "Pod kagenti-controller-manager-test"
_UNLIMITED = (
    "what is logged counts, up to 50 MiB before it is rotated: a limit would evict the operator for it"
)
_UID = "the image says 65532; OpenShift gives each namespace a range and refuses a number outside of it"

# Everything that may be found: where, which check, what it says, and why it is not followed.
EXCEPTIONS: dict[tuple[str, str, str], str] = {
    **{
        (where, check, said): why
        for where in (OPERATOR, TEST)
        for check, said, why in (
            (
                "container-ephemeral-storage-request-and-limit",
                "Ephemeral Storage limit is not set",
                _UNLIMITED,
            ),
            (
                "container-ephemeral-storage-request-and-limit",
                "Ephemeral Storage request is not set",
                "nothing is kept; the only volume is a 16 MiB emptyDir, for a certificate",
            ),
            (
                "container-image-pull-policy",
                "ImagePullPolicy is not set to Always",
                "a released tag is not pushed again, and a registry may be away at a restart; a value",
            ),
            (
                "container-resources",
                "CPU limit is not set",
                "it would slow the work down while there is CPU to spare; a value",
            ),
            ("container-security-context-user-group-id", "The container is running with a low user ID", _UID),
            ("container-security-context-user-group-id", "The container running with a low group ID", _UID),
        )
    },
    (OPERATOR, "deployment-replicas", "Deployment few replicas"): (
        "one leads, the others wait: a second replica shortens a takeover, for 60 MiB; a value"
    ),
    (OPERATOR, "pod-networkpolicy", "The pod does not have a matching NetworkPolicy"): (
        "switched off: ports of the API server and of MLflow differ from cluster to cluster; a value"
    ),
    (TEST, "pod-networkpolicy", "The pod does not have a matching NetworkPolicy"): (
        "it lives for seconds, and listens nowhere"
    ),
}
# Whoever sets those values is not excepted.
NOT_EXCEPTED = {"container-image-pull-policy", "deployment-replicas", "pod-networkpolicy"}


def findings(rendered: Path) -> Iterator[tuple[str, str, str]]:
    call = [
        binaries.find("kube-score"),
        "score",
        "--output-format=json",
        "--kubernetes-version=v1.34",
        rendered,
    ]
    # It ends with 1 where it finds something.
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    scored: list[dict[str, Any]] = json.loads(done.stdout)
    assert scored, done.stderr
    for found in scored:
        # One variant has a name of its own (fullnameOverride), and is judged as the others are.
        name = found["object_meta"]["name"].replace("mlflow-operator", "kagenti-controller-manager", 1)
        where = f"{found['type_meta']['kind']} {name}"
        for check in found["checks"]:
            if check["grade"] < 10 and not check["skipped"]:
                for comment in check["comments"]:
                    yield where, check["check"]["id"], comment["summary"]


@pytest.mark.parametrize("rendered", RENDERED, ids=lambda path: path.name.removesuffix(".golden.yaml"))
def test_a_variant_passes_but_for_the_exceptions(rendered: Path) -> None:
    assert set(findings(rendered)) - EXCEPTIONS.keys() == set()


def test_values_that_answer_an_exception_do() -> None:
    rendered = Path(__file__).parent / "cases" / "highly-available.golden.yaml"
    found = {check for where, check, _ in findings(rendered) if where == OPERATOR}
    assert not found & NOT_EXCEPTED


def test_every_exception_is_needed() -> None:
    found = {finding for rendered in RENDERED for finding in findings(rendered)}
    assert EXCEPTIONS.keys() - found == set()


def test_a_container_without_a_memory_limit_would_be_found(tmp_path: Path) -> None:
    worse = tmp_path / "worse.yaml"
    worse.write_text(RENDERED[0].read_text().replace("memory: 128Mi", "example.com/widgets: 1"))
    assert (OPERATOR, "container-resources", "Memory limit is not set") in set(findings(worse))

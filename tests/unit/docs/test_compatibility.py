"""What the documents say that a test shows, a test shows; and versions are those that are installed."""

import re
from pathlib import Path

import pytest

from kagenti_devcluster.profiles import PROFILES, Profile
from tests.support.documents import ROOT, find_documents

TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
NAMED = [
    (document, path, name)
    for document in find_documents()
    for path, name in TEST.findall(document.read_text())
]
PAGE = (ROOT / "docs" / "compatibility.md").read_text()


@pytest.mark.parametrize(("document", "path", "name"), NAMED, ids=lambda it: Path(str(it)).name)
def test_a_test_that_is_named_is_there(document: Path, path: str, name: str) -> None:
    assert (ROOT / path).is_file(), document
    assert not name or re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), (
        document
    )


def test_every_row_names_a_test_or_says_that_there_is_none() -> None:
    rows = re.findall(r"^\| (?!with |---)(.+) \|$", PAGE, re.MULTILINE)
    assert rows
    assert [row for row in rows if not re.search(r"`tests/|not tested|the same test", row)] == []


def find_pin(file: str, module: str) -> str:
    found = re.search(rf"{re.escape(module)} ?(?:==|:|v| v)? ?v?(\d+\.\d+\.\d+)", (ROOT / file).read_text())
    assert found, f"{file} pins no {module}"
    return found[1]


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("tools/kube-apiserver/go.mod", "k8s.io/kubernetes"),
        ("tools/helm/go.mod", "helm.sh/helm/v4"),
        ("tools/otelcol/manifest.yaml", "version"),
        *(
            (f"requirements/mlflow-{n}.txt", f"mlflow{more}")
            for n in ("3.10", "3.14", "3.17")
            for more in ("", "-kubernetes-plugins")
        ),
    ],
)
def test_versions_that_are_tested_are_those_that_are_installed(file: str, module: str) -> None:
    assert f" {find_pin(file, module)}" in PAGE


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_page_says_which_mlflow_each_platform_looks_like(profile: Profile) -> None:
    assert f"MLflow {profile.mlflow}" in PAGE

"""`tools/release.py` as a maintainer runs it, on a small checkout of its own."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "tools" / "release.py"
CHANGELOG = (
    "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- Something.\n\n## [0.1.0] - 2026-01-02\n\n- All.\n"
)
NAMING = (
    "pyproject.toml",
    "devcluster/pyproject.toml",
    "README.md",
    "charts/kagenti-operator/README.md",
    "charts/kagenti-operator/Chart.yaml",
)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, "-C", folder, *arguments], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What names the version, at a commit after 0.1.0 was released."""
    for name in NAMING:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "One")
    git(tmp_path, "tag", "v0.1.0")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "Two")
    return tmp_path


def release(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, "--root", root, *arguments], capture_output=True, text=True, check=False
    )


def test_a_prepared_release_names_its_version_everywhere_and_has_its_changes(checkout: Path) -> None:
    done = release(checkout, "prepare", "0.2.0")
    assert done.returncode == 0, done.stderr
    for name in NAMING:
        assert "0.2.0" in (checkout / name).read_text(), name
    assert re.search(
        r"## \[Unreleased\]\n\n## \[0\.2\.0\] - \d{4}-\d\d-\d\d\n\n### Added\n\n- Something\.\n\n## \[0\.1",
        (checkout / "CHANGELOG.md").read_text(),
    )
    assert release(checkout, "check", "0.2.0").returncode == 0


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("0.1.0", "0.1.0 does not come after v0.1.0"),
        ("0.0.9", "0.0.9 does not come after v0.1.0"),
        ("v0.2.0", "'v0.2.0' is no version of the form 1.2.3"),
        ("", "'' is no version of the form 1.2.3"),
    ],
)
def test_a_version_that_does_not_come_next_is_refused(checkout: Path, version: str, problem: str) -> None:
    done = release(checkout, "prepare", version)
    assert done.returncode == 1
    assert problem in done.stderr
    assert (checkout / "CHANGELOG.md").read_text() == CHANGELOG


def test_without_changes_there_is_no_release(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n## [0.1.0] - 2026-01-02\n\n- All.\n"
    )
    done = release(checkout, "prepare", "0.2.0")
    assert done.returncode == 1
    assert "CHANGELOG.md: nothing is unreleased" in done.stderr


def test_a_tag_on_what_was_not_prepared_is_refused_with_every_reason(checkout: Path) -> None:
    done = release(checkout, "check", "0.2.0")
    assert done.returncode == 1
    for name in NAMING:
        assert f"{name}: version 0.1.0 instead of 0.2.0" in done.stderr
    assert "CHANGELOG.md: no section `## [0.2.0] - DATE`" in done.stderr


def test_the_tag_of_the_release_itself_is_not_one_before_it(checkout: Path) -> None:
    release(checkout, "prepare", "0.2.0")
    git(checkout, "add", "--all")
    git(checkout, "commit", "--quiet", "--message", "Release 0.2.0")
    git(checkout, "tag", "v0.2.0")
    assert release(checkout, "check", "0.2.0").returncode == 0


def test_this_tree_names_one_version_everywhere() -> None:
    chart = yaml.safe_load((ROOT / "charts/kagenti-operator/Chart.yaml").read_text())
    done = release(ROOT, "check", chart["version"])
    assert "instead of" not in done.stderr


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda f: f.stem
)
def test_an_issue_form_asks_for_something_that_must_be_said(form: Path) -> None:
    content = yaml.safe_load(form.read_text())
    assert content["name"]
    assert content["description"]
    asked = [part for part in content["body"] if part["type"] != "markdown"]
    ids = [part["id"] for part in asked]
    assert len(ids) == len(set(ids))
    assert all(part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "docs/release.md"])
def test_the_commands_and_links_of_a_newcomers_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    for link in re.findall(r"\]\((?!https:)([^)#]+)", text):
        assert ((ROOT / page).parent / link).exists(), link
    for path in re.findall(r"\b(?:tests|tools)/[\w/]+\.(?:py|sh)\b", text):
        assert (ROOT / path).is_file(), path

"""What `make lint` and git's hook check, in one list of what is locked here, and the rules of workflows."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
HOOKS: list[dict[str, Any]] = [
    hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repo["hooks"]
]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ZIZMOR = Path(sys.executable).with_name("zizmor")
# An action by its whole commit, with the version that people read.
_PINNED = re.compile(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def test_make_lint_is_the_list_of_checks_on_all_files_and_ci_begins_with_it() -> None:
    done = subprocess.run(["make", "-n", "lint"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pre-commit run --all-files" in done.stdout
    assert "\nmake lint\n" in (ROOT / ".ci" / "run").read_text()


def test_the_list_has_format_rules_types_imports_chart_go_and_workflows() -> None:
    programs = " ".join(hook["entry"] for hook in HOOKS)
    for program in (
        "ruff format",
        "ruff check",
        "pyright",
        "lint-imports",
        "helm lint",
        "build.py --vet",
        "actionlint",
    ):
        assert program in programs


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_each_check_is_run_from_what_is_locked_here_and_downloads_nothing(hook: dict[str, Any]) -> None:
    assert hook["language"] == "unsupported"
    assert hook["entry"].startswith(".venv/bin/")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_nothing_but_what_its_jobs_name_and_ends(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {}
    for job in content["jobs"].values():
        assert job["permissions"]
        assert job["timeout-minutes"] <= 120


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(workflow: Path) -> None:
    uses = [line.strip() for line in workflow.read_text().splitlines() if "uses:" in line]
    assert uses
    for line in uses:
        assert _PINNED.search(line), line


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        (re.compile("@[0-9a-f]{40} # v4.2.2"), "@v4", "unpinned-uses"),
        (re.compile("persist-credentials: false"), "fetch-depth: 1", "artipacked"),
        (re.compile("permissions: {}"), "permissions: write-all", "excessive-permissions"),
        (re.compile("run: make lint"), "run: echo ${{ github.head_ref }}", "template-injection"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unsafe_workflow_does_not_pass(
    tmp_path: Path, before: re.Pattern[str], after: str, finding: str
) -> None:
    [command] = [hook["entry"].split() for hook in HOOKS if hook["id"] == "workflows-safety"]
    workflow, changes = before.subn(after, (ROOT / ".github" / "workflows" / "lint.yml").read_text())
    assert changes == 1
    (tmp_path / "lint.yml").write_text(workflow)
    call = [ZIZMOR, *command[1:-1], tmp_path / "lint.yml"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert finding in done.stdout

"""What the MLflow operator's stand-in makes of a CR: golden files."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kagenti_devcluster.profiles import DEFAULT, PROFILES, Profile
from kagenti_devcluster.standins.mlflow_migration import build_job
from kagenti_devcluster.standins.mlflow_server import build_deployment, build_objects, format_selector
from kagenti_devcluster.standins.resources import MLflowInstance

CASES = Path(__file__).parent / "cases"
CRS = sorted(CASES.glob("*.cr.yaml"))
# Of which platform a CR is where that is not the default.
PLATFORMS = {"remote-storage": "open-data-hub", "root": "openshift-ai-3.4"}


def read_cr(path: Path) -> MLflowInstance:
    return msgspec.convert(yaml.safe_load(path.read_text()), MLflowInstance)


def profile_of(cr: Path) -> Profile:
    return PROFILES[PLATFORMS.get(cr.name.partition(".")[0], DEFAULT.name)]


def golden_of(cr: Path) -> Path:
    return cr.with_name(cr.name.replace(".cr.", ".golden."))


@pytest.mark.parametrize("path", CRS, ids=lambda path: path.name)
def test_makes_as_reviewed(path: Path, update_golden: bool) -> None:
    cr, profile = read_cr(path), profile_of(path)
    made = [*build_objects(cr, profile), build_job(cr, profile), build_deployment(cr, profile)]
    text = yaml.safe_dump_all(made, sort_keys=False, width=110)
    if update_golden:
        golden_of(path).write_text(text)
    assert text == golden_of(path).read_text()


def test_every_golden_file_has_its_cr() -> None:
    assert set(CASES.glob("*.golden.yaml")) == {golden_of(path) for path in CRS}


@pytest.mark.parametrize(
    ("selector", "query"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        (
            {
                "matchExpressions": [
                    {"key": "env", "operator": "In", "values": ["dev", "test"]},
                    {"key": "team", "operator": "NotIn", "values": ["x"]},
                    {"key": "mlflow", "operator": "Exists"},
                    {"key": "private", "operator": "DoesNotExist"},
                ]
            },
            "env in (dev,test),team notin (x),mlflow,!private",
        ),
    ],
)
def test_a_workspace_selector_is_handed_on_as_a_query(selector: dict[str, Any], query: str) -> None:
    assert format_selector(selector) == query

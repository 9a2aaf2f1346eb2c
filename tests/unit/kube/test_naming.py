"""Partial models by the platform's name: what is read and written under its annotations."""

from typing import Any

import msgspec
import pytest

from kagenti_operator.contract import KAGENTI, PLATFORMS, ROSSOCTL
from kagenti_operator.kube.objects.agents import AgentWorkload
from kagenti_operator.kube.resources import (
    AGENT_DEPLOYMENTS,
    AGENT_SANDBOXES,
    AGENT_STATEFUL_SETS,
    ROLE_BINDINGS,
    ROLES,
    Resource,
)

RESOURCES: tuple[Resource[Any], ...] = (
    AGENT_DEPLOYMENTS,
    AGENT_STATEFUL_SETS,
    AGENT_SANDBOXES,
    ROLES,
    ROLE_BINDINGS,
)


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: resource.kind)
def test_no_name_of_the_one_platform_is_left_in_the_models_of_the_other(resource: Resource[Any]) -> None:
    assert resource.for_names(KAGENTI) == resource
    renamed = resource.for_names(ROSSOCTL)
    assert renamed == resource.for_names(ROSSOCTL)
    schema = str(msgspec.json.schema(renamed.model))
    assert "mlflow.rossoctl.io/" in schema
    assert "kagenti.io" not in schema


@pytest.mark.parametrize("names", PLATFORMS.values(), ids=lambda names: names.prefix)
def test_an_agents_annotations_are_those_of_its_platform(names: Any) -> None:
    annotations = {f"mlflow.{name.domain}/inject": name.prefix for name in PLATFORMS.values()}
    workload = msgspec.json.decode(
        msgspec.json.encode({"metadata": {"name": "weather", "annotations": annotations}}),
        type=AGENT_DEPLOYMENTS.for_names(names).model,
    )
    assert isinstance(workload, AgentWorkload)
    assert workload.metadata.annotations.inject == names.prefix
    assert workload.is_rolled_out is False

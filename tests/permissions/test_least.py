"""The chart's rules beside what the operator really asked for in a whole test run: neither is more.

`make test` runs this last: `pytest tests/permissions --requests=FOLDER`, where the runs before have put down
their requests by the same option.
"""

from pathlib import Path

import msgspec
import pytest

from tests.support.chart_permissions import (
    NAMESPACE,
    ROLE,
    Permission,
    collect_permissions,
    render_permissions,
)
from tests.support.recorded_requests import Request, read_records

# The name that values-beside.yaml gives the operator.
BESIDE = "kagenti-traces-operator"
# The API server looks for them when something else is asked for, and they are in no request of their own:
# tests/integration/reconcile/test_permissions.py takes each of them away.
NEEDED_UNASKED = {
    *(
        Permission("delete", "", "configmaps", namespace=NAMESPACE, name=name)
        for name in ("otel-collector-config", "otel-ingress-ca")
    ),
    *(Permission(verb, "mlflow.kubeflow.org", "experiments") for verb in ("get", "update")),
    *(
        Permission("bind", "rbac.authorization.k8s.io", "clusterroles", name=f"mlflow-operator-mlflow-{name}")
        for name in ("integration", "edit")
    ),
}
# Read in one namespace only, but that may not exist when the chart is installed.
ONE_NAMESPACE_THAT_COMES_LATER = {
    Permission(verb, "discovery.k8s.io", "endpointslices") for verb in ("list", "watch")
}


@pytest.fixture(scope="module")
def requests(pytestconfig: pytest.Config) -> set[Request]:
    folder: Path | None = pytestconfig.getoption("--requests")
    if folder is None:
        pytest.fail("--requests=FOLDER has to name what runs of the other tests recorded: see `make test`")
    found = read_records(folder)
    assert found, f"nothing was recorded in {folder}"
    return {_by_its_default_name(request) for request in found}


def _by_its_default_name(request: Request) -> Request:
    """Some run under another name (--operator-name), with what the chart grants to the default one."""
    if request.name != BESIDE:
        return request
    return msgspec.structs.replace(request, name=ROLE, refusal="")


@pytest.fixture(scope="module")
def permissions() -> list[Permission]:
    return collect_permissions(render_permissions())


def show(things: list[Request] | list[Permission]) -> str:
    return "\n".join(map(str, things))


def test_nothing_that_the_operator_asked_for_was_refused(
    requests: set[Request], permissions: list[Permission]
) -> None:
    def is_permitted(request: Request) -> bool:
        """Whether it was refused while the chart's rules did not hold: after helm uninstall, and by an API
        server that has just started and not read its rules yet (docs/notes-api-server.md).
        """
        asked = f" cannot {request.verb} resource " in request.refusal
        return asked and any(permission.allows(request) for permission in permissions)

    refused = sorted(request for request in requests if request.refusal and not is_permitted(request))
    assert not refused, show(refused)


def test_the_chart_grants_all_that_was_asked_for(
    requests: set[Request], permissions: list[Permission]
) -> None:
    missing = sorted(r for r in requests if not any(p.allows(r) for p in permissions))
    assert not missing, show(missing)


def test_every_permission_of_the_chart_was_used(
    requests: set[Request], permissions: list[Permission]
) -> None:
    unused = [p for p in permissions if p not in NEEDED_UNASKED and not any(map(p.allows, requests))]
    assert not unused, show(unused)


def test_what_is_granted_in_all_namespaces_was_used_in_more_than_one(
    requests: set[Request], permissions: list[Permission]
) -> None:
    def used_in(permission: Permission) -> set[str]:
        """Where the resource was read, or written, by whatever verb."""
        alike = [p for p in permissions if is_read(p) == is_read(permission) and not p.namespace]
        same = [p for p in alike if (p.group, p.resource) == (permission.group, permission.resource)]
        return {r.namespace for r in requests if any(p.allows(r) for p in same)}

    cluster_wide = [p for p in permissions if not p.namespace]
    narrow = [p for p in cluster_wide if len(used_in(p)) == 1 and used_in(p) != {""}]
    assert set(narrow) <= ONE_NAMESPACE_THAT_COMES_LATER, show(narrow)


def is_read(permission: Permission) -> bool:
    return permission.verb in ("get", "list", "watch")


def test_the_exceptions_are_needed(permissions: list[Permission]) -> None:
    assert set(permissions) >= NEEDED_UNASKED | ONE_NAMESPACE_THAT_COMES_LATER

"""How the API server's audit log is read, and requests are set beside permissions."""

import json
from pathlib import Path
from typing import Any

from tests.support.chart_permissions import Permission, collect_permissions
from tests.support.recorded_requests import (
    OPERATOR,
    Request,
    collect_requests,
    read_audit_log,
    read_records,
    write_record,
)

RBAC = "rbac.authorization.k8s.io"


def entry(verb: str, resource: str, *, code: int = 200, message: str = "", **about: str) -> dict[str, Any]:
    decision = {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC: allowed"}
    return {
        "verb": verb,
        "user": {"username": OPERATOR},
        "objectRef": {"resource": resource, **about},
        "responseStatus": {"code": code, "message": message},
        "annotations": decision,
    }


def test_a_request_is_what_the_authorizer_judges() -> None:
    seen = collect_requests(
        [
            entry("list", "configmaps", namespace="a", name="one"),
            entry("create", "events", code=201, apiGroup="events.k8s.io", namespace="a", name="random"),
            entry("get", "pods", namespace="a", name="p", subresource="log"),
        ]
    )
    assert seen == {
        Request("list", "", "configmaps", "a", "one"),
        Request("create", "events.k8s.io", "events", "a"),
        Request("get", "", "pods/log", "a", "p"),
    }


def test_applying_something_new_takes_patch_and_create() -> None:
    seen = collect_requests([entry("patch", "roles", code=201, apiGroup=RBAC, namespace="a", name="r")])
    assert {request.verb for request in seen} == {"patch", "create"}
    assert {request.name for request in seen} == {"r"}
    (only,) = collect_requests([entry("patch", "roles", apiGroup=RBAC, namespace="a", name="r")])
    assert only.verb == "patch"


def test_what_everybody_may_do_does_not_count() -> None:
    review = entry("create", "selfsubjectaccessreviews", code=201)
    everybody = (
        'RBAC: allowed by ClusterRoleBinding "system:basic-user" of ClusterRole "system:basic-user" to Group'
    )
    review["annotations"]["authorization.k8s.io/reason"] = everybody
    assert collect_requests([review]) == set()


def test_a_missing_permission_differs_from_other_refusals() -> None:
    at_the_door = entry("get", "secrets", code=403, message='User "x" cannot get resource')
    at_the_door["annotations"]["authorization.k8s.io/decision"] = "forbid"
    escalation = 'user "x" is attempting to grant RBAC permissions not currently held'
    creation = 'User "x" cannot create resource "configmaps"'
    passing = "unable to create new content in namespace a because it is being terminated"
    for refused in (at_the_door, *(entry("patch", "x", code=403, message=m) for m in (escalation, creation))):
        (request,) = collect_requests([refused])
        assert request.refusal == refused["responseStatus"]["message"]
    (request,) = collect_requests([entry("patch", "x", code=403, message=passing)])
    assert not request.refusal


def test_a_record_outlives_the_audit_log(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    older = tmp_path / "audit-2026-01-01T00-00-00.000.log"
    stranger = {**entry("get", "secrets"), "user": {"username": f"{OPERATOR}-not"}}
    older.write_text(json.dumps(entry("get", "leases")) + "\n")
    log.write_text("".join(json.dumps(e) + "\n" for e in (entry("get", "leases"), stranger)) + '{"cut')
    assert len(list(read_audit_log(log))) == 2
    write_record(tmp_path / "record", log)
    write_record(tmp_path / "record", log)
    assert read_records(tmp_path / "record") == {Request("get", "", "leases")}


def test_permissions_are_judged_as_rbac_judges_them() -> None:
    named = Permission("list", "", "configmaps", "a", "one")
    assert named.allows(Request("list", "", "configmaps", "a", "one"))
    assert not named.allows(Request("list", "", "configmaps", "a"))
    assert not named.allows(Request("list", "", "configmaps", "b", "one"))
    assert not named.allows(Request("watch", "", "configmaps", "a", "one"))
    everywhere = Permission("list", "", "configmaps")
    assert everywhere.allows(Request("list", "", "configmaps", "a", "one"))
    assert everywhere.allows(Request("list", "", "configmaps"))
    assert not everywhere.allows(Request("list", "apps", "configmaps"))


def test_a_role_grants_where_it_is_bound() -> None:
    def binding(kind: str, role: str, reference: str, **metadata: str) -> dict[str, Any]:
        subjects = [{"kind": "ServiceAccount", "name": "me", "namespace": "a"}]
        return {
            "kind": kind,
            "metadata": {"name": role, **metadata},
            "roleRef": {"kind": reference, "name": role},
            "subjects": subjects,
        }

    def role(kind: str, name: str, resource: str, **metadata: str) -> dict[str, Any]:
        rule = {"apiGroups": [""], "resources": [resource], "verbs": ["get"], "resourceNames": ["x", "y"]}
        return {"kind": kind, "metadata": {"name": name, **metadata}, "rules": [rule]}

    manifests = [
        role("ClusterRole", "r", "nodes"),
        role("Role", "r", "pods", namespace="a"),
        role("Role", "unbound", "secrets", namespace="a"),
        binding("ClusterRoleBinding", "r", "ClusterRole"),
        binding("RoleBinding", "r", "Role", namespace="a"),
        binding("ClusterRoleBinding", "somebody-elses", "ClusterRole"),
    ]
    assert set(collect_permissions(manifests, "me")) == {
        *(Permission("get", "", "nodes", "", name) for name in ("x", "y")),
        *(Permission("get", "", "pods", "a", name) for name in ("x", "y")),
    }
    assert collect_permissions(manifests, "another") == []

"""Policies of the platform's: what they forbid is refused with 403 by admission, whatever RBAC says."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kagenti_devcluster.testing.platform import Platform, eventually
from kagenti_operator.kube.errors import ApiError

_POLICIES = "/apis/admissionregistration.k8s.io/v1"
MESSAGE = "this is frozen"


@asynccontextmanager
async def forbidden(
    platform: Platform,
    name: str,
    *,
    group: str,
    resource: str,
    operations: Sequence[str],
    when: str,
    probe: Callable[[], Awaitable[object]],
) -> AsyncGenerator[None]:
    """Forbid what the CEL expression `when` holds for; `probe` sends such a request as a dry run."""
    rule = {"apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": operations}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": f"!({when})", "message": MESSAGE}],
    }
    policy = f"{_POLICIES}/validatingadmissionpolicies/{name}"
    bound = f"{_POLICIES}/validatingadmissionpolicybindings/{name}"
    binding = {"policyName": name, "validationActions": ["Deny"]}
    await platform.put(policy, _body("ValidatingAdmissionPolicy", name, spec))
    await platform.put(bound, _body("ValidatingAdmissionPolicyBinding", name, binding))

    async def in_force() -> None:
        try:
            await probe()
        except ApiError as error:
            if MESSAGE not in str(error):
                raise
        else:
            raise AssertionError("the policy is not in force yet")

    async def lifted() -> None:
        try:
            await probe()
        except ApiError as error:
            # What it asked about may be gone by now, which is another refusal.
            if MESSAGE in str(error):
                raise AssertionError("the policy is still in force") from error

    try:
        await eventually(in_force)
        yield
    finally:
        for path in (bound, policy):
            await platform.delete(path)
        # It goes on for a moment, in which it would refuse the cleaning up after the test.
        await eventually(lifted)


def _body(kind: str, name: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    api_version = "admissionregistration.k8s.io/v1"
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec}

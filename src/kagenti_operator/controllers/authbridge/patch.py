"""The JSON patch (RFC 6902) that makes of a pod what was decided."""

from collections.abc import Mapping
from typing import Any

from kagenti_operator.controllers.authbridge.inputs import Pod
from kagenti_operator.controllers.authbridge.pod import annotations_of


def build_patch(before: Pod, after: Pod) -> list[Mapping[str, Any]]:
    """The operations that turn one into the other; none where they are equal.

    Only `/spec` and `/metadata/annotations` can differ: these are replaced whole.
    """
    operations: list[Mapping[str, Any]] = []
    annotations = annotations_of(after)
    if annotations != annotations_of(before):
        operations.append({"op": "add", "path": "/metadata/annotations", "value": annotations})
    if after["spec"] != before["spec"]:
        operations.append({"op": "replace", "path": "/spec", "value": after["spec"]})
    return operations

"""The Secret with the credentials of a workload's client in Keycloak, and where a pod has it: section 6.6."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from kagenti_operator.contract import (
    CLIENT_CREDENTIALS,
    CLIENT_ID_FILE,
    CLIENT_SECRET_FILE,
    CREDENTIALS_ANNOTATION,
    Names,
)
from kagenti_operator.controllers.authbridge.inputs import Pod
from kagenti_operator.controllers.authbridge.pod import (
    Container,
    annotations_of,
    containers_of,
    list_at,
    mapping_at,
    with_mounts,
    with_spec,
    with_volumes,
)
from kagenti_operator.controllers.authbridge.volumes import SHARED, SHARED_FOLDER

_HEX_DIGITS = 16
_VOLUME_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def default_secret(names: Names, namespace: str, workload: str) -> str:
    """The Secret of a workload that names none itself."""
    purpose = names.prefixed(CLIENT_CREDENTIALS)
    return f"{purpose}-{_digest(f'{namespace}\0{workload}\0{purpose}')}"


def secret_of(pod: Pod, names: Names, namespace: str, workload: str) -> str:
    """The Secret of a workload: the one that its pods' annotation names, else the default one."""
    named = annotations_of(pod).get(names.key(CREDENTIALS_ANNOTATION), "")
    return named or default_secret(names, namespace, workload)


def with_credentials(pod: Pod, names: Names, secret: str) -> Pod:
    """A pod with the annotation, the volume and the mounts that are missing; the same pod where none is."""
    annotation = names.key(CREDENTIALS_ANNOTATION)
    if annotations_of(pod).get(annotation) != secret:
        annotations = {**annotations_of(pod), annotation: secret}
        pod = {**pod, "metadata": {**mapping_at(pod, "metadata"), "annotations": annotations}}
    containers = [_with_files(container, secret) for container in containers_of(pod)]
    if not any(_has_files(container, secret) for container in containers):
        return pod
    if containers != containers_of(pod):
        pod = with_spec(pod, {"containers": containers})
    return with_volumes(pod, [{"name": _volume_name(secret), "secret": {"secretName": secret}}])


def _with_files(container: Container, secret: str) -> Container:
    if not any(mount["name"] == SHARED for mount in list_at(container, "volumeMounts")):
        return container
    return with_mounts(container, [_mount(secret, file) for file in (CLIENT_ID_FILE, CLIENT_SECRET_FILE)])


def _mount(secret: str, file: str) -> Mapping[str, Any]:
    name = _volume_name(secret)
    return {"name": name, "mountPath": f"{SHARED_FOLDER}/{file}", "subPath": file, "readOnly": True}


def _has_files(container: Container, secret: str) -> bool:
    return any(mount["name"] == _volume_name(secret) for mount in list_at(container, "volumeMounts"))


def _volume_name(secret: str) -> str:
    """As the Secret, unless that is no name for a volume, which may have fewer characters and no dots."""
    return secret if _VOLUME_NAME.fullmatch(secret) else f"{CLIENT_CREDENTIALS}-{_digest(secret)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HEX_DIGITS]

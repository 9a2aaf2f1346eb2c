"""Puts together what a container is started with: command, environment, root file system."""

from collections.abc import Mapping
from pathlib import Path

from kagenti_devcluster.node.context import NodeContext
from kagenti_devcluster.node.environ import PodFacts, build_command, build_environment
from kagenti_devcluster.node.images import Image, ImageError
from kagenti_devcluster.node.launch import Launch
from kagenti_devcluster.node.models import Container
from kagenti_devcluster.node.network import PodNetwork
from kagenti_devcluster.node.podfiles import PodFiles
from kagenti_devcluster.node.rootfs import Machine, Mount, plan_root
from kagenti_devcluster.node.volumes import PodVolumes

KUBERNETES_ADDRESS = "10.96.0.1"
_KUBERNETES_VARIABLES = {
    "KUBERNETES_SERVICE_HOST": KUBERNETES_ADDRESS,
    "KUBERNETES_SERVICE_PORT": "443",
    "KUBERNETES_SERVICE_PORT_HTTPS": "443",
    "KUBERNETES_PORT": f"tcp://{KUBERNETES_ADDRESS}:443",
}
_MAX_HOSTNAME = 63


def short_hostname(name: str) -> str:
    """A host name that the kernel takes, shortened as the kubelet does. Pure."""
    return name[:_MAX_HOSTNAME].rstrip("-.")


def prepare(
    context: NodeContext,
    container: Container,
    *,
    facts: PodFacts,
    volumes: PodVolumes,
    network: PodNetwork,
    files: PodFiles,
) -> Launch:
    """Describe a container's start. Raises SourceMissing or ImageError with what is missing."""
    metadata = facts.pod.metadata
    image = context.images.resolve(container.image)
    base = {**_KUBERNETES_VARIABLES, "HOSTNAME": metadata.name}
    # One that the pod names, such as a sidecar's, would be bypassed by those who read the other spelling.
    if image.egress and not any(variable.name in context.egress for variable in container.env or ()):
        base |= context.egress
    environment = build_environment(container, image, base, facts, context.lookup(metadata.namespace))
    command = build_command(container, image, environment)
    if not command:
        raise ImageError(f"image {container.image} has no entrypoint and the pod has no command")
    mounts = [*files.mounts, *_image_files(image), *volumes.mounts(container, environment)]
    visible = [*context.visible, *_named_files(command, image)]
    # The administrator's credentials are in there.
    hidden = [str(context.paths.root)]
    return Launch(
        command=command,
        environment=environment,
        directory=container.working_dir or image.directory,
        hostname=short_hostname(facts.pod.spec.hostname or metadata.name),
        root=files.directory / "root" / container.name,
        steps=plan_root(Machine(), mounts, visible, hidden),
        network=network.namespace,
        log=context.paths.container_log(metadata.namespace, metadata.name, container.name),
    )


def _image_files(image: Image) -> list[Mount]:
    return [
        Mount(path, source, "dir" if Path(source).is_dir() else "file", read_only=True)
        for path, source in image.files.items()
    ]


def _named_files(command: list[str], image: Image) -> list[str]:
    """Files of the machine that the command names, wherever they lie."""
    named: Mapping[str, None] = dict.fromkeys([*command, *image.entrypoint])
    return [part for part in named if part.startswith("/") and Path(part).is_file()]

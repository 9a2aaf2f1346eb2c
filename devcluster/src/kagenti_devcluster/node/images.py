"""Which command on this machine an image stands for.

The table is YAML: a list of images, the first match wins.

    images:
    - image: quay.io/example/server     # a repository, or one of its tags; a trailing `*` matches a prefix
      entrypoint: ["{bin:server}"]      # what a pod's `command` replaces
      args: [--listen, ":8080"]         # what a pod's `args` replace, and its `command` removes
      env: {PATH: "{env:agent}/bin:/usr/bin:/bin"}
      directory: /                      # the working directory, unless the pod says another
      files: {/server: "{bin:server}"}  # files or folders of the image that a pod's `command` may name
      egress: true                      # a proxy to the outside in HTTP_PROXY and HTTPS_PROXY

Placeholders: {bin:NAME} a cached binary, {env:NAME} the folder of a cached virtual environment, {venv} the
environment that the cluster itself runs in, {python} its interpreter, {project} the source tree,
{keycloak} the folder of the cached Keycloak, {java} what runs it.
"""

import re
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import msgspec
import yaml

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.toolchain import binaries, environments, keycloak
from kagenti_devcluster.toolchain.cache import checkout

PACKAGED = Path(__file__).with_name("images.yaml")
_PLACEHOLDER = re.compile(r"\{(bin|env):([\w.-]+)\}|\{(venv|python|project|keycloak|java)\}")


class Image(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one image stands for; placeholders are not resolved yet."""

    image: str
    entrypoint: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    directory: str = "/"
    files: dict[str, str] = {}
    egress: bool = False

    def matches(self, reference: str) -> bool:
        """Whether it stands for the image of that reference."""
        repository = repository_of(reference)
        if self.image.endswith("*"):
            return repository.startswith(self.image[:-1])
        return self.image in (repository, reference.partition("@")[0])


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    images: tuple[Image, ...] = ()


class ImageError(DevClusterError):
    """An image cannot be run here; the message says which file to change, or what to build."""


def repository_of(reference: str) -> str:
    """An image's repository: the reference without tag and digest."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def load_images(paths: Iterable[Path]) -> tuple[Image, ...]:
    """Read tables, the more important one first. Raises DevClusterError on a file that is no such table."""
    images: list[Image] = []
    for path in paths:
        try:
            images += msgspec.convert(yaml.safe_load(path.read_text()) or {}, _Table).images
        except (OSError, yaml.YAMLError, msgspec.ValidationError) as error:
            raise DevClusterError(f"the table of images {path} cannot be used: {error}") from error
    return tuple(images)


@lru_cache(maxsize=64)
def locate(kind: str, name: str) -> str:
    """What a placeholder stands for on this machine. Raises ImageError that says how to get it."""
    _check_name(kind, name)
    try:
        match kind:
            case "bin":
                return str(binaries.find(name))
            case "env":
                return str(environments.find(name).parent.parent)
            case "venv":
                return sys.prefix
            case "project":
                return str(_source_tree())
            case "keycloak":
                return str(keycloak.find())
            case "java":
                return str(keycloak.find_java())
            case _:
                return sys.executable
    except (binaries.BinaryMissing, environments.EnvironmentMissing) as error:
        raise ImageError(str(error)) from error


def _check_name(kind: str, name: str) -> None:
    match kind:
        case "bin":
            what, known = "binary", tuple(binaries.TOOLS)
        case "env":
            what, known = "environment", environments.POD_ENVIRONMENTS
        case _:
            return
    if name not in known:
        raise ImageError(
            f"the table of images says {{{kind}:{name}}}, but no {what} has that name: "
            f"there are {', '.join(known)}"
        )


def _source_tree() -> Path:
    root = checkout()
    if root is None:
        raise ImageError(
            "this image runs a program of the source tree, and the package was installed without"
        )
    return root


def expand(text: str, find: Callable[[str, str], str] = locate) -> str:
    """Replace the placeholders in a text."""
    return _PLACEHOLDER.sub(lambda m: find(m[1] or m[3], m[2] or ""), text)


class ImageTable:
    """Finds what an image stands for."""

    def __init__(self, images: Iterable[Image], find: Callable[[str, str], str] = locate):
        self._images = tuple(images)
        self._find = find

    def resolve(self, reference: str) -> Image:
        """What to run for an image, ready to run. Raises ImageError where nothing is known of it."""
        repository = repository_of(reference)
        found = next((image for image in self._images if image.matches(reference)), None)
        if found is None:
            raise ImageError(
                f"no command is known for image {repository}: add it to a table like {PACKAGED.name} "
                "(docs/devcluster.md, Images)"
            )
        return Image(
            image=found.image,
            entrypoint=tuple(expand(part, self._find) for part in found.entrypoint),
            args=tuple(expand(part, self._find) for part in found.args),
            env={key: expand(value, self._find) for key, value in found.env.items()},
            directory=found.directory,
            files={path: expand(source, self._find) for path, source in found.files.items()},
            egress=found.egress,
        )

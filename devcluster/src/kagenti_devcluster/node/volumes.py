"""A pod's volumes as directories on this machine, and what of them a container sees where."""

from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from kagenti_devcluster.node.atomicdir import write_files
from kagenti_devcluster.node.environ import Lookup, PodFacts, SourceMissing, expand
from kagenti_devcluster.node.models import Container, TokenSource, Volume, VolumeMount
from kagenti_devcluster.node.projection import digest, is_projected, project, tokens_of
from kagenti_devcluster.node.rootfs import Mount
from kagenti_devcluster.node.tokens import Token, request_token
from kagenti_operator import clock
from kagenti_operator.kube.client import KubeClient

log = structlog.get_logger(__name__)

# The directory of a claim; raises SourceMissing while the claim is not bound.
type ClaimDirectory = Callable[[str], Path]


class PodVolumes:
    """Makes, refreshes and finds the volumes of one pod."""

    def __init__(
        self,
        client: KubeClient,
        directory: Path,
        *,
        facts: Callable[[], PodFacts],
        lookup: Lookup,
        claim_directory: ClaimDirectory,
        signing_key: Path,
    ):
        self._client = client
        self._directory = directory
        self._facts = facts
        self._lookup = lookup
        self._claim_directory = claim_directory
        self._signing_key = signing_key
        self._written: dict[str, str] = {}
        self._tokens: dict[TokenSource, Token] = {}
        self._renew_at: dict[TokenSource, float] = {}

    @property
    def _volumes(self) -> tuple[Volume, ...]:
        return self._facts().pod.spec.volumes or ()

    async def mount(self) -> None:
        """Make all volumes. Raises SourceMissing for what is not there yet, KubeError without a token."""
        for volume in self._volumes:
            if is_projected(volume):
                await self._renew_tokens(volume)
                self._project(volume)
            else:
                self._make(volume)

    def refresh(self) -> None:
        """Write files again whose objects changed; an object that has gone leaves its files as they are."""
        for volume in self._volumes:
            if not is_projected(volume) or volume.name not in self._written:
                continue
            try:
                self._project(volume)
            except SourceMissing as error:
                log.info("A volume keeps its old files", volume=volume.name, reason=str(error))

    def close(self) -> None:
        """The pod ends: what changes from now on is not written, and no token is renewed."""
        self._written.clear()
        self._renew_at.clear()

    async def renew_tokens(self) -> float | None:
        """Replace tokens that are due; returns in how many seconds the next one is. Raises KubeError."""
        if not self._renew_at:
            return None
        for volume in self._volumes:
            await self._renew_tokens(volume)
        self.refresh()
        return min(self._renew_at.values()) - clock.monotonic()

    async def _renew_tokens(self, volume: Volume) -> None:
        for source in tokens_of(volume):
            now = clock.monotonic()
            if self._renew_at.get(source, now) > now:
                continue
            token = await request_token(
                self._client, self._facts().pod, source, clock.now(), self._signing_key
            )
            self._tokens[source] = token
            self._renew_at[source] = now + token.renew_after

    def _project(self, volume: Volume) -> None:
        files = project(volume, self._facts(), self._lookup, lambda source: self._tokens[source].value)
        mark = digest(files)
        if self._written.get(volume.name) != mark:
            write_files(self._directory / volume.name, files)
            self._written[volume.name] = mark

    def _make(self, volume: Volume) -> None:
        if volume.empty_dir is not None:
            (self._directory / volume.name).mkdir(parents=True, exist_ok=True)
        elif volume.persistent_volume_claim is not None:
            self._claim_directory(volume.persistent_volume_claim.claim_name)
        elif volume.host_path is None:
            raise SourceMissing(f"volume {volume.name!r} is of a kind that the cluster does not know")
        elif not Path(volume.host_path.path).exists():
            raise SourceMissing(f"volume {volume.name!r}: {volume.host_path.path} does not exist")

    def mounts(self, container: Container, environment: Mapping[str, str]) -> list[Mount]:
        """What a container sees of the volumes. Raises SourceMissing for a missing sub-path."""
        volumes = {volume.name: volume for volume in self._volumes}
        return [
            self._mount(volumes[mount.name], mount, environment) for mount in container.volume_mounts or ()
        ]

    def _mount(self, volume: Volume, mount: VolumeMount, environment: Mapping[str, str]) -> Mount:
        claim, host_path = volume.persistent_volume_claim, volume.host_path
        source = self._directory / volume.name
        read_only = mount.read_only or is_projected(volume)
        if claim is not None:
            source = self._claim_directory(claim.claim_name)
            read_only = read_only or claim.read_only
        elif host_path is not None:
            source = Path(host_path.path)
        if sub_path := mount.sub_path or expand(mount.sub_path_expr, environment):
            source = self._sub_path(volume, source, sub_path)
        kind = "dir" if source.is_dir() else "file"
        return Mount(mount.mount_path, str(source), kind, read_only)

    def _sub_path(self, volume: Volume, source: Path, sub_path: str) -> Path:
        # The real file: what is mounted this way does not follow changes, in a real cluster either.
        found = (source / sub_path).resolve()
        if not found.is_relative_to(source.resolve()):
            raise SourceMissing(f"volume {volume.name!r}: the sub-path {sub_path} leads out of it")
        if not found.exists():
            if is_projected(volume):
                raise SourceMissing(f"volume {volume.name!r} has no file {sub_path}")
            found.mkdir(parents=True)
        return found

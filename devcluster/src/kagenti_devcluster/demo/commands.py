"""helm as the demo runs it, and the files of the checkout that it uses."""

from collections.abc import Sequence
from pathlib import Path

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.toolchain.cache import checkout
from kagenti_devcluster.toolchain.run import run_tool


def checkout_path(relative: str) -> Path:
    """A path in the source tree. Raises DevClusterError where the package was installed without it."""
    root = checkout()
    if root is None:
        raise DevClusterError(
            f"{relative} is not here: the demo installs the chart and the examples of a checkout; "
            "clone the repository and run `make demo` there"
        )
    return root / relative


async def run_helm(paths: StatePaths, arguments: Sequence[str]) -> str:
    """Run helm against the cluster and return what it says. Raises DevClusterError."""
    # Nothing of the user's own helm takes part, and nothing of ours stays in it.
    homes = {f"HELM_{kind}_HOME": str(paths.helm / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
    environ = {"KUBECONFIG": str(paths.kubeconfig), **homes}
    # What a hook's pod logs comes on stderr.
    return "".join(await run_tool("helm", *arguments, environ=environ))

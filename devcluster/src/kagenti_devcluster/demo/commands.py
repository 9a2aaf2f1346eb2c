"""Programs that the demo runs as a person would, and the files of the checkout that it uses."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.toolchain import binaries
from kagenti_devcluster.toolchain.cache import checkout


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
    try:
        helm = binaries.find("helm")
    except binaries.BinaryMissing as error:
        raise DevClusterError(str(error)) from error
    environment = {
        **os.environ,
        "KUBECONFIG": str(paths.kubeconfig),
        # Nothing of the user's own helm takes part, and nothing of ours stays in it.
        **{f"HELM_{kind}_HOME": str(paths.helm / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")},
    }
    process = await asyncio.create_subprocess_exec(
        helm,
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = output.decode(errors="replace")
    if process.returncode:
        raise DevClusterError(f"`helm {arguments[0]}` ended with {process.returncode}\n{said}")
    return said

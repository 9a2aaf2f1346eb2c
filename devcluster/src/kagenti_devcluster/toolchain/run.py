"""Runs helm and kubectl as a person would."""

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import Mapping

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.toolchain import binaries


async def run_tool(
    name: str, *arguments: str, environ: Mapping[str, str], stdin: bytes = b""
) -> tuple[str, str]:
    """Run a tool, with further variables, and return its output and what it wrote to stderr.

    Raises DevClusterError, with both, when it fails.
    """
    try:
        tool = binaries.find(name)
    except binaries.BinaryMissing as error:
        raise DevClusterError(str(error)) from error
    process = await asyncio.create_subprocess_exec(
        tool, *arguments, env={**os.environ, **environ}, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    try:
        output, errors = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    said = output.decode(errors="replace"), errors.decode(errors="replace")
    if process.returncode:
        text = "".join(said).strip()
        raise DevClusterError(f"`{name} {arguments[0]}` ended with {process.returncode}\n{text}")
    return said

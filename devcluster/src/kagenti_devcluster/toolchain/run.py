"""Runs helm and kubectl as a person would."""

import asyncio
import os
from asyncio.subprocess import PIPE
from collections.abc import Mapping

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.toolchain import binaries


async def run_tool(name: str, *arguments: str, environ: Mapping[str, str], stdin: bytes = b"") -> str:
    """Run a tool, with further variables, and return what it prints.

    Raises DevClusterError, with all that it said, when it fails.
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
    if process.returncode:
        said = (output + errors).decode(errors="replace").strip()
        raise DevClusterError(f"`{name} {arguments[0]}` ended with {process.returncode}\n{said}")
    return output.decode(errors="replace")

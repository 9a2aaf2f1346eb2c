"""Reading an answer's body up to a bound."""

import aiohttp

from kagenti_operator.kube.errors import TooLarge

_MIB = 2**20


async def read_bounded(response: aiohttp.ClientResponse, bound: int) -> bytes:
    """Return the whole body. Raises TooLarge where it has more than so many bytes, unpacked."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > bound:
            raise TooLarge(f"the answer is larger than {bound / _MIB:g} MiB, and is not read")
        chunks.append(chunk)
    return b"".join(chunks)

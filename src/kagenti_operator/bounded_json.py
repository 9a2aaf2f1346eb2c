"""Decoding what a peer sends, however deeply it nests.

msgspec recurses, also over what it skips, and gives up with a RecursionError, which is no DecodeError. The
API server takes values that nest ten thousand deep from whoever may write an object, and without a bound one
such object would end the list that it is in.
"""

import re

import msgspec

# No object that Kubernetes or MLflow defines nests half as deep.
DEEPEST = 100
_STRING_OR_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{\]}]', re.DOTALL)


class Decoder[T]:
    """Decodes JSON into a model; values that nest too deep are taken for null."""

    def __init__(self, model: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(model)

    def decode(self, body: bytes | msgspec.Raw) -> T:
        """Raises msgspec.DecodeError, and its ValidationError where the body does not fit the model."""
        try:
            return self._decoder.decode(body)
        except RecursionError:
            return self._decoder.decode(prune(bytes(body)))


def decode[T](body: bytes, model: type[T]) -> T:
    """Decode once; raises as Decoder.decode does."""
    return Decoder(model).decode(body)


def prune(body: bytes, deepest: int = DEEPEST) -> bytes:
    """Put null in the place of every array and object that lies deeper; does not recurse.

    What is no JSON stays none.
    """
    kept: list[bytes] = []
    start = depth = 0
    for token in _STRING_OR_BRACKET.finditer(body):
        match token[0]:
            case b"[" | b"{":
                depth += 1
                if depth == deepest + 1:
                    kept.append(body[start : token.start()])
            case b"]" | b"}":
                if depth == deepest + 1:
                    kept.append(b"null")
                    start = token.end()
                depth -= 1
            case _:
                pass
    return b"".join((*kept, body[start:])) if depth <= deepest else body[:start]

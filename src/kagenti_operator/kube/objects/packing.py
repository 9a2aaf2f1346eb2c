"""Objects as bytes: a quarter of the memory that their structs take, where there are as many as agents.

They come back as what their model says, a little later: each time that they are looked at.
"""

from functools import cache
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin

import msgspec

from kagenti_operator.kube.objects.models import KubeStruct


class Packing[T: KubeStruct]:
    """Packs objects of one model.

    What is unpacked is of a subclass of the model, so it equals no struct that was decoded otherwise, and
    msgspec encodes it as an array.
    """

    def __init__(self, model: type[T]) -> None:
        self._model = _packed_model(model)
        self._encoder = msgspec.msgpack.Encoder()
        # What `encode` returns keeps the room of a larger buffer.
        self._buffer = bytearray(1024)
        self._decoder = msgspec.msgpack.Decoder(self._model)
        # What was unpacked last: whoever works on an object looks at it several times.
        self._last: tuple[bytes, T] | None = None

    def pack(self, obj: T) -> bytes:
        """The object in short."""
        is_packed = isinstance(obj, self._model)
        packed = obj if is_packed else msgspec.convert(obj, self._model, from_attributes=True)
        self._encoder.encode_into(packed, self._buffer)
        return bytes(self._buffer)

    def unpack(self, packed: bytes) -> T:
        """The object; the same one while the same bytes are asked for again."""
        if self._last is None or self._last[0] is not packed:
            self._last = packed, self._decoder.decode(packed)
        return self._last[1]


@cache
def _packed_model[T: KubeStruct](model: type[T]) -> type[T]:
    """The model without the names of its fields, and without what bounds them: they are bounded."""
    fields = [
        (field.name, _packed_type(field.type), msgspec.field(name=field.encode_name))
        for field in msgspec.structs.fields(model)
    ]
    made = msgspec.defstruct(
        model.__name__,
        fields,
        bases=(model,),
        module=model.__module__,
        namespace={"__post_init__": _as_it_is} if hasattr(model, "__post_init__") else None,
        array_like=True,
        frozen=True,
        kw_only=True,
        gc=False,
    )
    return cast("type[T]", made)


def _as_it_is(_: KubeStruct) -> None:
    pass


def _packed_type(annotation: Any) -> Any:
    model: object = annotation
    if isinstance(model, type) and issubclass(model, KubeStruct):
        return _packed_model(model)
    arguments: Any = tuple(_packed_type(argument) for argument in get_args(annotation))
    if not arguments:
        return annotation
    origin: Any = get_origin(annotation)
    generic: Any = Union if origin is UnionType else origin
    return generic[arguments]

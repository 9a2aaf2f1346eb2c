"""Models whose annotations are those of the platform's other name."""

from functools import lru_cache
from typing import Any, cast

import msgspec

from kagenti_operator.contract import KAGENTI
from kagenti_operator.kube.objects.models import KubeStruct


@lru_cache
def model_for[T: KubeStruct](model: type[T], domain: str) -> type[T]:
    """The model with annotations of `domain` where it has those of kagenti.io; itself without any.

    It is a subclass, so that whoever knows the model knows what is decoded into it.
    """
    changed = [
        (field.name, annotation, msgspec.field(name=name, **default))
        for field in msgspec.structs.fields(model)
        if (annotation := _type_for(field.type, domain), name := _name_for(field.encode_name, domain))
        != (field.type, field.encode_name)
        for default in (_default_for(field, annotation),)
    ]
    if not changed:
        return model
    made = msgspec.defstruct(
        model.__name__, changed, bases=(model,), module=model.__module__, frozen=True, kw_only=True, gc=False
    )
    return cast("type[T]", made)


def _name_for(name: str, domain: str) -> str:
    prefix, slash, rest = name.rpartition("/")
    if prefix == KAGENTI.domain or prefix.endswith(f".{KAGENTI.domain}"):
        prefix = prefix.removesuffix(KAGENTI.domain) + domain
    return prefix + slash + rest


def _type_for(annotation: Any, domain: str) -> Any:
    return model_for(annotation, domain) if _is_model(annotation) else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, KubeStruct)


def _default_for(field: msgspec.structs.FieldInfo, annotation: Any) -> dict[str, Any]:
    if field.default_factory is not msgspec.NODEFAULT:
        return {"default_factory": field.default_factory}
    if field.default is msgspec.NODEFAULT:
        return {}
    # Every such default is a struct without values of its own.
    return {"default": annotation() if _is_model(annotation) else field.default}

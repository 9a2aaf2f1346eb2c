"""The platform's feature gates: key `feature-gates.yaml` of ConfigMap `<platform>-feature-gates`."""

import msgspec

from kagenti_operator.controllers.authbridge.yaml_text import read_settings


class Gates(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the platform lets the webhook do. A gate that is not known here is a newer platform's."""

    global_enabled: bool = True
    envoy_proxy: bool = True
    inject_tools: bool = False
    per_workload_config_resolution: bool = False
    skill_discovery: bool = False


def parse_gates(text: str) -> Gates:
    """Read them; a gate that is not there has its default. Raises ValueError with what goes on from a name.

    All gates off is what an installation looks like that never set any: these are the defaults then. Who
    wants no injection sets `globalEnabled` alone to false.
    """
    try:
        gates = msgspec.convert(read_settings(text), Gates, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"has a value that is no true or false: {error}") from error
    return gates if any(msgspec.structs.astuple(gates)) else Gates()

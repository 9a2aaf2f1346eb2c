"""Pure: the collector's configuration as its ConfigMap has it."""

from dataclasses import dataclass
from typing import Self

from kagenti_operator import contract
from kagenti_operator.contract import Names
from kagenti_operator.kube.objects.models import ConfigMap
from kagenti_operator.otelcol.model import MLflowDestination
from kagenti_operator.otelcol.render import config_hash, last_known_ca, last_known_destination


@dataclass(frozen=True)
class InPlace:
    """The YAML, and the hash that the ConfigMap is annotated with: the operator's words for what it wrote."""

    text: str
    annotated: str | None

    @classmethod
    def of(cls, names: Names, config_map: ConfigMap | None) -> Self:
        """Read it; an empty text without a hash where there is none."""
        if config_map is None:
            return cls("", None)
        text = (config_map.data or {}).get(contract.COLLECTOR_CONFIG_KEY, "")
        return cls(text, config_map.metadata.annotations.get(names.config_hash_annotation))

    @property
    def is_ours(self) -> bool:
        """Whether it is what the operator wrote."""
        return self.annotated == config_hash(self.text)

    @property
    def destination(self) -> MLflowDestination | None:
        """Where it sends to, if the operator wrote it."""
        return last_known_destination(self.text, self.annotated)

    @property
    def ca(self) -> str | None:
        """The CA of MLflow's certificate in it, as PEM, if the operator wrote it."""
        return last_known_ca(self.text, self.annotated)

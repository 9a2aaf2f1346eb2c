"""What the operator leaves alone, because the platform's own operator writes it."""

from kagenti_operator.runtime.observable import Observable


class Suspended:
    """Controllers rest while theirs is true (`Controller.suspend_while`), and then go on by themselves.

    `mlflow`: the operand, access, agents and the interface's ConfigMap; `experiment`: the collector's;
    `configuration`: the collector's ConfigMap and rollout, and the ingress CA.
    """

    def __init__(self) -> None:
        self.mlflow = Observable(False)
        self.experiment = Observable(False)
        self.configuration = Observable(False)

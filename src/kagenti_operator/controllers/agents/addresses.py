"""Pure: which of MLflow's addresses agents are given."""

from collections.abc import Iterator
from dataclasses import dataclass

from kagenti_operator.contract import AgentsAddress
from kagenti_operator.runtime.telemetry.reporter import Report


@dataclass(frozen=True)
class GatewayTrust:
    """Whether pods trust the certificate of that gateway by themselves; None where it did not answer."""

    url: str
    trusted: bool | None


@dataclass(frozen=True)
class Choice:
    """An address for agents, None where there is none.

    `pending`: the gateway's certificate is being tried. `sure`: False while a gateway may come, or come back.
    `stopgap`: it is not the one to use, but the other is missing in the status.
    """

    uri: str | None
    pending: bool = False
    sure: bool = True
    stopgap: bool = False


def choose_address(
    mode: AgentsAddress, gateway: str | None, address: str | None, trust: GatewayTrust | None
) -> Choice:
    """Choose by section 2.6 of the contract: `auto` takes a gateway that a pod trusts, else the address."""
    if mode == "service":
        return Choice(address)
    if mode == "gateway":
        return Choice(gateway, sure=gateway is not None)
    if gateway is None:
        return Choice(address, sure=False)
    trusted: bool | None = False
    if gateway.startswith("https:"):
        if trust is None or trust.url != gateway:
            return Choice(None, pending=True)
        trusted = trust.trusted
    if trusted:
        return Choice(gateway)
    return Choice(address or gateway, sure=trusted is False, stopgap=address is None)


def report_no_address(mode: AgentsAddress, gateway: str | None, address: str | None) -> Iterator[Report]:
    """Report that the one address that agents are to use is missing in the MLflow CR's status."""
    field = {"gateway": "status.url", "service": "status.address.url"}.get(mode)
    if field is None or (gateway if mode == "gateway" else address):
        return
    yield Report(
        reason="AgentsAddressMissing",
        message=f"MLflow has no usable {field}, and --agents-mlflow-address={mode} (chart: "
        "mlflow.agentsAddress) lets agents use nothing else: none is configured until it appears. Set it to "
        "auto to have agents use the address that there is.",
        log=True,
        over=f"MLflow has {field}: agents are configured.",
    )

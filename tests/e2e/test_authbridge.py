"""The weather agent behind its sidecar, with a real Keycloak: the demo's steps, on a cluster of its own."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack
from io import StringIO
from pathlib import Path

import aiohttp
import pytest

from kagenti_devcluster.demo import steps_agent, steps_authbridge, steps_cluster, steps_operator
from kagenti_devcluster.demo.failures import Hop
from kagenti_devcluster.demo.report import Console
from kagenti_devcluster.demo.stage import TEAM, Stage
from kagenti_devcluster.demo.waiting import NotYet
from kagenti_devcluster.demo.workloads import workload_path
from kagenti_devcluster.host.launcher import start, stop
from kagenti_devcluster.host.options import KEYCLOAK, ClusterOptions, publish
from kagenti_devcluster.host.status import Status
from kagenti_devcluster.profiles import DEFAULT
from kagenti_devcluster.standins.keycloak import AGENT_CLIENT
from tests.support.chart_permissions import collect_permissions, render_permissions
from tests.support.recorded_requests import collect_requests, operator_of, read_audit_log

REGISTRATION = "authbridge.clientRegistration.enable=true"
_SECONDS = 60.0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[ClusterOptions, Status]]:
    options = ClusterOptions(
        directory=tmp_path, keycloak=True, published=publish(DEFAULT, mlflow=True, keycloak=True)
    )
    status = start(options, die_with_parent=True)
    yield options, status
    stop(tmp_path)


@pytest.fixture
async def stage(cluster: tuple[ClusterOptions, Status]) -> AsyncGenerator[Stage]:
    options, status = cluster
    async with AsyncExitStack() as exits:
        made = Stage(options, Console(StringIO()), exits, {})
        made.addresses = status.addresses
        await made.connect()
        yield made


async def test_an_agent_is_called_with_good_tokens_only_and_its_client_goes_with_it(stage: Stage) -> None:
    await steps_operator.install(stage)
    await steps_cluster.prepare_team(stage)
    # By an upgrade: who leads before it knows nothing of AuthBridge.
    await steps_authbridge.switch_on(stage)
    await steps_operator.read_messages(stage)
    await steps_operator.read_configuration(stage)
    await steps_agent.wait_ready(stage)
    await steps_authbridge.wait_sidecar(stage)
    await steps_authbridge.call(stage)
    await steps_authbridge.read_tool_log(stage)
    await steps_agent.read_trace(stage)
    assert AGENT_CLIENT in await read_clients(stage)
    await expect_all_gone_with_the_workload(stage)
    expect_no_more_permissions_than_were_used(stage)


async def expect_all_gone_with_the_workload(stage: Stage) -> None:
    await stage.api.delete(workload_path("deployments", TEAM, steps_authbridge.AGENT))

    async def gone() -> None:
        if await steps_authbridge.find_secret(stage):
            raise NotYet("its Secret is there")
        if AGENT_CLIENT in await read_clients(stage):
            raise NotYet("its client is there")

    await stage.until("the agent's client and Secret gone", gone, seconds=_SECONDS, hop=Hop.OPERATOR)


def expect_no_more_permissions_than_were_used(stage: Stage) -> None:
    """Of what registration adds each permission was used, and nothing that was asked for was refused."""
    before, after = (
        set(collect_permissions(render_permissions(more=values)))
        for values in (("authbridge.enable=true",), ("authbridge.enable=true", REGISTRATION))
    )
    operator = operator_of(stage.names)
    requests = collect_requests(read_audit_log(stage.paths.audit_log, operator))
    assert {str(request) for request in requests if request.refusal} == set()
    added = after - before
    assert added
    assert {str(p) for p in added if not any(map(p.allows, requests))} == set()


async def read_clients(stage: Stage) -> list[str]:
    """What Keycloak says its realm's clients are."""
    token = await steps_authbridge.fetch_administrators_token(stage)
    url = f"http://{stage.addresses[KEYCLOAK.name]}/admin/realms/{stage.names.prefix}/clients"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        answer = await session.get(url)
        return [client["clientId"] for client in await answer.json()]

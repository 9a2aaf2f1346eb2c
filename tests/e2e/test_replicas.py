"""Three replicas of the operator, of which the leader is harmed: another works on, and never two at once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from kagenti_devcluster.demo.commands import checkout_path, run_helm
from kagenti_devcluster.demo.workloads import workload_path
from kagenti_devcluster.host.launcher import start, stop
from kagenti_devcluster.host.options import ClusterOptions
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.testing.platform import FIXED_NAMESPACES, SYSTEM
from kagenti_operator.contract import KAGENTI
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.runtime.election.lease import Lease
from tests.e2e.replicas import COUNT, TAKEOVER_SECONDS, Replicas, pod_of
from tests.support.leader_terms import Write, collect_terms, find_writes_out_of_term
from tests.support.leaks import find_leaks, mounted_tokens, secret_values
from tests.support.recorded_requests import RecordRequests

# Where the lease of 15 s has to run out, it takes 13 s at least; on an idle machine it takes 1 to 3 s.
HANDOVER_SECONDS = 12.0
VALUES = (f"controllerManager.replicas={COUNT}", "mlflow.enable=true", "platform=kubernetes")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory, record_requests: RecordRequests) -> Iterator[StatePaths]:
    """A bare cluster with the operator in it, for the tests of this file."""
    options = ClusterOptions(directory=tmp_path_factory.mktemp("replicas"), bare=True)
    start(options, die_with_parent=True)
    paths = StatePaths(options.directory)
    try:
        asyncio.run(install(paths))
        yield paths
    finally:
        stop(options.directory)
    record_requests(paths.audit_log)


def connect(paths: StatePaths) -> KubeClient:
    return KubeClient(load_connection({"KUBECONFIG": str(paths.kubeconfig)}))


async def install(paths: StatePaths) -> None:
    """The operator by its chart, on as much of a platform as it takes to grant the collector access."""
    async with connect(paths) as admin:
        platform = Replicas(paths, admin).platform
        for namespace in FIXED_NAMESPACES:
            await platform.namespace(namespace)
        # Without an address of MLflow there are no experiments, and every agent still costs a grant.
        await platform.managed_and_ready(address=None)
    chart = str(checkout_path("charts/kagenti-operator"))
    settings = [f"--set={value}" for value in VALUES]
    verbose = "--set=controllerManager.container.extraArgs={--log-level=debug}"
    await run_helm(paths, ["install", "kagenti-operator", chart, "--namespace", SYSTEM, *settings, verbose])


@pytest.fixture
async def replicas(paths: StatePaths) -> AsyncIterator[Replicas]:
    """The replicas at work, with something to write all the time."""
    async with connect(paths) as admin:
        replicas = Replicas(paths, admin)
        async with replicas.flickering():
            yield replicas


async def expect_takeover(replicas: Replicas, old: Lease) -> Lease:
    """Wait for another leader and its work; it came within the lease's bound, by what the leases say."""
    last, new = await replicas.wait_for_successor(old)
    await replicas.wait_for_work(new)
    renewed, acquired = (
        datetime.fromisoformat(lease.record[key])
        for lease, key in ((last, "renewTime"), (new, "acquireTime"))
    )
    assert (acquired - renewed).total_seconds() < TAKEOVER_SECONDS
    return new


def expect_one_at_a_time(replicas: Replicas) -> None:
    assert find_writes_out_of_term(replicas.writes()) == []


async def test_a_killed_leader_is_followed(replicas: Replicas) -> None:
    old = await replicas.settle()
    os.kill(await replicas.process(old), signal.SIGKILL)
    await expect_takeover(replicas, old)
    await replicas.settle()
    expect_one_at_a_time(replicas)


async def test_a_stopped_leader_is_followed_and_writes_nothing_when_it_goes_on(replicas: Replicas) -> None:
    old = await replicas.settle()
    process = await replicas.process(old)
    os.kill(process, signal.SIGSTOP)
    try:
        new = await expect_takeover(replicas, old)
    finally:
        os.kill(process, signal.SIGCONT)
    # It finds that it does not lead any more, and makes room for a fresh process.
    await replicas.wait_for_end(process)
    await replicas.wait_for_work(new)
    await replicas.settle()
    expect_one_at_a_time(replicas)


async def test_a_leader_that_is_cut_off_is_followed_and_writes_nothing_when_it_is_back(
    replicas: Replicas,
) -> None:
    old = await replicas.settle()
    process = await replicas.process(old)
    replicas.set_network(process, "down")
    new = await expect_takeover(replicas, old)
    await replicas.wait_for_end(process)
    replicas.set_network(await replicas.process(old), "up")
    await replicas.wait_for_work(new)
    await replicas.settle()
    expect_one_at_a_time(replicas)


async def test_a_rollout_hands_over_long_before_the_lease_would_have_run_out(
    replicas: Replicas,
) -> None:
    old = await replicas.settle()
    former = len(replicas.terms()) - 1
    restarted = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
    change = {"spec": {"template": {"metadata": {"annotations": restarted}}}}
    await replicas.platform.patch(workload_path("deployments", SYSTEM, KAGENTI.deployment), change)
    _, new = await replicas.wait_for_successor(old)
    await replicas.wait_for_work(new)
    await replicas.settle()
    terms = replicas.terms()[former:]
    assert len(terms) > 1
    for before, after in pairwise(terms):
        last = max(write.answered for write in (*before.leases, *before.work))
        gap = (after.work[0].received - last).total_seconds()
        assert gap < HANDOVER_SECONDS, f"from {before.pod} to {after.pod}"
    expect_one_at_a_time(replicas)


async def test_no_replica_wrote_a_secret_not_even_into_a_verbose_log(paths: StatePaths) -> None:
    async with connect(paths) as admin:
        secrets = await Replicas(paths, admin).platform.request("GET", "/api/v1/secrets")
    tokens = mounted_tokens(paths)
    assert tokens
    assert find_leaks(paths, tokens | secret_values(secrets["items"])) == {}


def write(pod: str, second: float, *, lease: bool = False) -> Write:
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    answered = moment + timedelta(seconds=0.1)
    resource = "leases" if lease else "roles"
    return Write(
        pod=pod, verb="patch", resource=resource, about="", taken=True, received=moment, answered=answered
    )


def test_a_write_outside_of_its_replicas_term_is_found() -> None:
    early, first, late = write("b", 2), write("a", 1), write("a", 4)
    writes = [write("a", 0, lease=True), first, early, write("b", 3, lease=True), late, write("b", 5)]
    assert [term.pod for term in collect_terms(writes)] == ["a", "b"]
    assert find_writes_out_of_term(writes) == [early, late]
    assert find_writes_out_of_term([w for w in writes if w not in (early, late)]) == []
    assert pod_of(Lease({"spec": {"holderIdentity": "pod-1_uuid"}})) == "pod-1"

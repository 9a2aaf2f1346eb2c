"""What kubectl shows of a container's log, and what it says where the cluster cannot do what it asks for."""

import asyncio
import subprocess
from asyncio.subprocess import Process
from typing import Any

import pytest

from kagenti_devcluster.toolchain import binaries
from tests.support.node_cluster import Bench, pod_spec


async def kubectl(bench: Bench, *arguments: str) -> Process:
    command = [binaries.find("kubectl"), f"--kubeconfig={bench.cluster.paths.kubeconfig}"]
    command.append(f"--namespace={bench.namespace}")
    return await asyncio.create_subprocess_exec(
        *command, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


async def run(bench: Bench, *arguments: str) -> tuple[int | None, str, str]:
    """How kubectl ended, and what it printed and complained of."""
    process = await kubectl(bench, *arguments)
    out, err = await asyncio.wait_for(process.communicate(), timeout=30)
    return process.returncode, out.decode(), err.decode()


async def test_logs_are_served_through_the_api_server(bench: Bench) -> None:
    await bench.create_pod("talker", pod_spec("seq 1 5; exec sleep 600"))
    await bench.until_logged("talker", "5\n")
    path = bench.path("pods", "talker") + "/log"
    assert await bench.client.raw("GET", path) == b"1\n2\n3\n4\n5\n"
    assert await bench.client.raw("GET", path, params={"tailLines": "2"}) == b"4\n5\n"


async def test_kubectl_follows_a_log_until_its_pod_is_gone(bench: Bench) -> None:
    await bench.create_pod(
        "talker", pod_spec("trap 'echo end; exit' TERM; echo begin; while :; do sleep 0.1; done")
    )
    await bench.until_logged("talker", "begin")
    following = await kubectl(bench, "logs", "--follow", "talker")
    assert following.stdout is not None
    # Deleted once the following has begun, and not before.
    assert await following.stdout.readline() == b"begin\n"
    await bench.delete("pods", "talker")
    assert await following.stdout.read() == b"end\n"
    assert await following.wait() == 0


async def test_a_log_can_be_limited_in_bytes_also_while_it_is_followed(bench: Bench) -> None:
    await bench.create_pod("talker", pod_spec("seq 1 5; exec sleep 600"))
    await bench.until_logged("talker", "5\n")
    assert await run(bench, "logs", "talker", "--limit-bytes=3") == (0, "1\n2", "")
    assert await run(bench, "logs", "talker", "--limit-bytes=5", "--follow", "--tail=3") == (0, "3\n4\n5", "")


async def test_what_a_log_cannot_be_asked_for_is_refused_by_name(bench: Bench) -> None:
    await bench.create_pod("talker", pod_spec("echo begin; exec sleep 600"))
    await bench.until_logged("talker", "begin")
    for option, value in (
        ("--since", "=5m"),
        ("--since-time", "=2026-01-01T00:00:00Z"),
        ("--timestamps", ""),
        ("--previous", ""),
    ):
        status, out, err = await run(bench, "logs", "talker", option + value)
        assert (status, out) == (1, "")
        assert f"leave out {option} (" in err


async def test_the_log_of_a_pod_that_waits_says_what_for(bench: Bench) -> None:
    await bench.create_pod("typo", {"containers": [{"name": "main", "image": "example/typo"}]})
    volumes: list[dict[str, Any]] = [{"name": "files", "configMap": {"name": "late"}}]
    await bench.create_pod("late", pod_spec("true", volumes=volumes))

    async def reported(pod: str, *texts: str) -> bool:
        status, _, err = await run(bench, "logs", pod)
        return status == 1 and all(text in err for text in (f'in pod "{pod}" is waiting to start', *texts))

    await bench.until("what is wrong with its image", lambda: reported("typo", "ErrImagePull", "{bin:foo}"))
    await bench.until("which volume is missing", lambda: reported("late", "ContainerCreating", "'late'"))


@pytest.mark.parametrize(
    "command",
    [
        ("exec", "talker", "--", "true"),
        ("attach", "talker"),
        ("cp", "talker:/etc/hostname", "copied"),
        ("port-forward", "pod/talker", ":80"),
    ],
    ids=lambda command: command[0],
)
async def test_what_the_node_cannot_do_is_reported_with_the_way_in(
    bench: Bench, command: tuple[str, ...]
) -> None:
    await bench.create_pod("talker", pod_spec("echo begin; exec sleep 600"))
    await bench.until_ready("talker")
    status, _, err = await run(bench, *command)
    assert status == 1
    assert "no exec, attach, cp and port-forward" in err
    assert "kubectl get --raw /api/v1/namespaces/" in err

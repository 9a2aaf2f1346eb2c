"""What a pod's containers see, and what becomes of them."""

import asyncio
import json
from tempfile import NamedTemporaryFile
from typing import Any

from kagenti_devcluster.testing.platform import eventually
from tests.support.node_cluster import Bench, pod_spec
from tests.support.processes import all_pids, read_command

EMPTY: list[dict[str, Any]] = [{"name": "data", "emptyDir": {}}]


def container_state(status: dict[str, Any]) -> dict[str, Any]:
    return status["containerStatuses"][0]["state"]


async def test_a_container_gets_its_environment_from_everywhere(bench: Bench) -> None:
    await bench.create_config_map("settings", COLOUR="blue", shape="round")
    await bench.create(
        """
        {apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {api-key: s3cret}}
        """
    )
    env: list[dict[str, Any]] = [
        {"name": "PLAIN", "value": "a"},
        {"name": "DERIVED", "value": "$(PLAIN)-$(COLOUR)-$(UNKNOWN)"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "api-key"}}},
        {"name": "SHAPE", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "shape"}}},
        {
            "name": "ABSENT",
            "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}},
        },
        {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
    ]
    container = {"env": env, "envFrom": [{"configMapRef": {"name": "settings"}}]}
    await bench.create_pod("env", pod_spec("env", restartPolicy="Never", container=container))
    status = await bench.until_phase("env", "Succeeded")
    seen = dict(line.split("=", 1) for line in bench.log("env").splitlines())
    assert seen["DERIVED"] == "a-blue-$(UNKNOWN)"
    assert (seen["KEY"], seen["SHAPE"], seen["COLOUR"]) == ("s3cret", "round", "blue")
    assert "ABSENT" not in seen
    assert (seen["WHERE"], seen["ACCOUNT"]) == (bench.namespace, "default")
    assert seen["ADDRESS"] == status["podIP"]
    assert seen["HOSTNAME"] == "env"
    assert seen["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert seen["FROM_IMAGE"] == "yes"


async def is_accepted(bench: Bench, token: str) -> bool:
    """Whether the API server takes a token."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    path = "/apis/authentication.k8s.io/v1/tokenreviews"
    answer = await bench.client.raw("POST", path, body=json.dumps(review).encode())
    return json.loads(answer)["status"].get("authenticated", False)


async def test_tokens_are_renewed_as_early_as_their_account_asks(bench: Bench) -> None:
    annotations = {"devcluster.kagenti.io/token-seconds": "5"}
    account = {"name": "hasty", "annotations": annotations}
    await bench.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    folder = "/var/run/secrets/kubernetes.io/serviceaccount"
    show = f"while :; do cat {folder}/token; echo; sleep 0.2; done"
    await bench.create_pod("reader", pod_spec(show, serviceAccountName="hasty"))

    def tokens() -> list[str]:
        return list(dict.fromkeys(line for line in bench.log("reader").splitlines() if line))

    async def shown(count: int) -> bool:
        return len(tokens()) >= count

    await bench.until("a token", lambda: shown(1))
    assert await is_accepted(bench, tokens()[0])
    await bench.until("another token", lambda: shown(2))
    assert await is_accepted(bench, tokens()[1])


async def test_a_pod_waits_for_what_it_refers_to(bench: Bench) -> None:
    env_from = [{"configMapRef": {"name": "late-env"}}]
    container = {"envFrom": env_from, "volumeMounts": [{"name": "files", "mountPath": "/files"}]}
    volumes = [{"name": "files", "configMap": {"name": "late-files"}}]
    await bench.create_pod(
        "late",
        pod_spec("cat /files/a; echo $B", restartPolicy="Never", container=container, volumes=volumes),
    )

    async def waits_for(what: str) -> bool:
        status = (await bench.get("pods", "late"))["status"]
        statuses = status.get("containerStatuses", [])
        return bool(statuses) and what in statuses[0]["state"].get("waiting", {}).get("message", "")

    await bench.until("it says which volume is missing", lambda: waits_for("'late-files'"))
    await bench.create_config_map("late-files", a="A")
    await bench.until("it says which variables are missing", lambda: waits_for("'late-env'"))
    await bench.create_config_map("late-env", B="B")
    await bench.until_phase("late", "Succeeded")
    assert bench.log("late") == "AB\n"


async def test_an_unknown_image_says_where_to_add_it(bench: Bench) -> None:
    await bench.create_pod("unknown", {"containers": [{"name": "main", "image": "nowhere.example/x:1"}]})

    async def reported() -> bool:
        statuses = (await bench.get("pods", "unknown"))["status"].get("containerStatuses")
        waiting: dict[str, str] = statuses[0]["state"].get("waiting", {}) if statuses else {}
        return waiting.get("reason") == "ErrImagePull" and "images.yaml" in waiting["message"]

    await bench.until("the pod's status names the table", reported)


async def test_a_mistake_in_the_table_of_images_is_reported_by_the_pod(bench: Bench) -> None:
    await bench.create_pod("typo", {"containers": [{"name": "main", "image": "example/typo"}]})

    async def reported() -> bool:
        statuses = (await bench.get("pods", "typo"))["status"].get("containerStatuses")
        waiting: dict[str, str] = statuses[0]["state"].get("waiting", {}) if statuses else {}
        return waiting.get("reason") == "ErrImagePull" and "no binary has that name" in waiting["message"]

    await bench.until("the pod's status names the mistake", reported)


async def test_a_container_that_crashes_runs_again_and_is_counted(bench: Bench) -> None:
    await bench.create_pod("crash", pod_spec("echo again; exit 7"))
    await bench.until_logged("crash", "again\nagain\n")
    status = (await bench.get("pods", "crash"))["status"]
    container = status["containerStatuses"][0]
    assert container["restartCount"] >= 1
    assert container["lastState"]["terminated"]["exitCode"] == 7

    async def backs_off() -> bool:
        state = container_state((await bench.get("pods", "crash"))["status"])
        return state.get("waiting", {}).get("reason") == "CrashLoopBackOff"

    await bench.until("it backs off", backs_off)


async def test_restart_policies_decide_how_a_pod_ends(bench: Bench) -> None:
    once = "test -e /data/seen && exit 0; touch /data/seen; exit 3"
    container = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    await bench.create_pod("fails", pod_spec("exit 3", restartPolicy="Never"))
    spec = pod_spec(once, restartPolicy="OnFailure", container=container, volumes=EMPTY)
    await bench.create_pod("recovers", spec)
    failed = await bench.until_phase("fails", "Failed")
    assert container_state(failed)["terminated"]["exitCode"] == 3
    recovered = await bench.until_phase("recovers", "Succeeded")
    assert recovered["containerStatuses"][0]["restartCount"] == 1


async def test_init_containers_run_one_after_the_other_before_the_others(bench: Bench) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]

    def container(name: str, command: str) -> dict[str, Any]:
        return {"name": name, "image": "example/shell", "args": [command], "volumeMounts": mounts}

    spec: dict[str, Any] = {
        "initContainers": [
            container("first", "echo first >> /data/order"),
            container("second", "echo second >> /data/order"),
        ],
        "containers": [
            container("main", "cat /data/order; sleep 60"),
            container("beside", "cat /data/order; sleep 60"),
        ],
        "volumes": EMPTY,
    }
    await bench.create_pod("ordered", spec)
    status = await bench.until_ready("ordered")

    async def written() -> None:
        assert bench.log("ordered", "main") == bench.log("ordered", "beside") == "first\nsecond\n"

    # Containers without a probe are ready as soon as they run.
    await eventually(written)
    assert [s["state"]["terminated"]["reason"] for s in status["initContainerStatuses"]] == ["Completed"] * 2


async def test_the_containers_of_a_pod_share_its_network_and_nobody_elses(bench: Bench) -> None:
    listen = "import socket\nserver = socket.create_server(('127.0.0.1', 9000))\n"
    serve = f"{listen}while True:\n    server.accept()[0].sendall(b'mine')\n"
    ask = "import socket; print(socket.create_connection(('127.0.0.1', 9000), 5).recv(9))"
    server = {"name": "server", "image": "example/python", "args": ["-c", serve]}
    client = {"name": "main", "image": "example/python", "args": ["-c", ask]}
    await bench.create_pod("shared", {"containers": [server, client]})
    await bench.until_logged("shared", "b'mine'")
    await bench.create_pod("other", {"containers": [client], "restartPolicy": "Never"})
    await bench.until_phase("other", "Failed")
    assert "Connection refused" in bench.log("other")


async def test_deletion_lets_a_container_finish(bench: Bench) -> None:
    patient = "trap 'sleep 0.5; echo finished; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    await bench.create_pod("patient", pod_spec(patient))
    await bench.until_logged("patient", "ready")
    await bench.delete("pods", "patient")
    assert await bench.exists("pods", "patient")

    async def gone() -> bool:
        return not await bench.exists("pods", "patient")

    await bench.until("the object is gone", gone)
    assert bench.log("patient").endswith("finished\n")


async def test_deletion_does_not_wait_longer_than_the_grace_period(bench: Bench) -> None:
    stubborn = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    await bench.create_pod("stubborn", pod_spec(stubborn, terminationGracePeriodSeconds=1))
    await bench.until_logged("stubborn", "ready")
    await bench.delete("pods", "stubborn")

    async def gone() -> bool:
        return not await bench.exists("pods", "stubborn")

    await bench.until("the object is gone", gone)


async def test_probes_decide_when_a_pod_is_ready_and_when_it_starts_over(bench: Bench) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    probed = {
        "volumeMounts": mounts,
        "startupProbe": {"exec": {"command": ["test", "-e", "/tmp/started"]}, "periodSeconds": 1},
        "readinessProbe": {"exec": {"command": ["cat", "/data/ready"]}, "periodSeconds": 1},
        "livenessProbe": {
            "exec": {"command": ["sh", "-c", "! test -e /data/dead"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        },
    }
    # Whatever is put into /tmp belongs to this run of the container only.
    command = "rm -f /data/dead; sleep 1; touch /tmp/started; sleep 60"
    hand = {"name": "hand", "image": "example/shell", "volumeMounts": mounts}
    orders = "sleep 2; touch /data/ready; sleep 3; touch /data/dead; sleep 60"
    spec = pod_spec(command, container=probed, volumes=EMPTY)
    spec["terminationGracePeriodSeconds"] = 1
    spec["containers"].append({**hand, "args": [orders]})
    await bench.create_pod("probed", spec)

    async def main(field: str, value: Any) -> bool:
        statuses = (await bench.get("pods", "probed"))["status"].get("containerStatuses", [])
        return any(s["name"] == "main" and s[field] == value for s in statuses)

    await bench.until("it has started", lambda: main("started", True))
    assert await main("ready", False)
    await bench.until("it is ready", lambda: main("ready", True))
    await bench.until("it was started again", lambda: main("restartCount", 1))


async def test_the_machines_files_are_read_only_and_tmp_is_private(bench: Bench) -> None:
    with NamedTemporaryFile(dir="/tmp") as machines:
        command = (
            "touch /usr/bin/x 2>/dev/null || echo usr is protected; "
            "touch /etc/x 2>/dev/null || echo etc is protected; "
            f"touch /tmp/x && test ! -e {machines.name} && echo tmp is private; "
            "ls -d /proc/[0-9]* | wc -l; cat /etc/hostname"
        )
        await bench.create_pod("guest", pod_spec(command, restartPolicy="Never"))
        await bench.until_phase("guest", "Succeeded")
    *protected, processes, hostname = bench.log("guest").splitlines()
    assert protected == ["usr is protected", "etc is protected", "tmp is private"]
    # Its own processes only: init, shell, and the two of the pipe.
    assert int(processes) <= 5
    assert hostname == "guest"


async def test_the_administrators_credentials_are_not_to_be_seen(bench: Bench) -> None:
    command = f"test -e {bench.cluster.paths.kubeconfig} || echo not there"
    assert bench.cluster.paths.kubeconfig.exists()
    await bench.create_pod("curious", pod_spec(command, restartPolicy="Never"))
    await bench.until_phase("curious", "Succeeded")
    assert bench.log("curious") == "not there\n"


async def test_whoever_opens_the_standard_streams_anew_adds_to_the_log(bench: Bench) -> None:
    command = "echo one; echo two > /dev/stderr; echo three > /dev/stdout; echo four >&2"
    await bench.create_pod("writer", pod_spec(command, restartPolicy="Never"))
    await bench.until_phase("writer", "Succeeded")
    assert bench.log("writer") == "one\ntwo\nthree\nfour\n"


async def test_a_pod_that_does_not_fit_stays_pending_and_says_why(bench: Bench) -> None:
    await bench.create_pod("choosy", pod_spec("sleep 60", nodeSelector={"disk": "fast"}))

    async def reported() -> bool:
        conditions = (await bench.get("pods", "choosy"))["status"].get("conditions", [])
        return any(c["reason"] == "Unschedulable" and "disk=fast" in c["message"] for c in conditions)

    await bench.until("its status says why", reported)
    await bench.create_pod("usual", pod_spec("sleep 60", nodeSelector={"kubernetes.io/os": "linux"}))
    await bench.until_ready("usual")


async def test_a_job_completes(bench: Bench) -> None:
    template = {"spec": pod_spec("echo done", restartPolicy="Never")}
    metadata = {"name": "once"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": template}}
    await bench.create(job)

    async def complete() -> bool:
        return (await bench.get("jobs", "once"))["status"].get("succeeded") == 1

    await bench.until("the job is complete", complete)


async def test_what_people_should_know_is_reported_by_events(bench: Bench) -> None:
    await bench.create_pod("broken", {"containers": [{"name": "main", "image": "nowhere.example/x:1"}]})

    async def reported() -> bool:
        events = (await bench.get("events"))["items"]
        return any(
            (e["involvedObject"]["name"], e["reason"], e["type"], e["reportingComponent"])
            == ("broken", "Failed", "Warning", "devcluster-node")
            for e in events
        )

    await bench.until("an event of the node about the pod", reported)


async def test_a_force_deleted_pod_leaves_no_process(bench: Bench) -> None:
    mark = f"force-{bench.namespace}"
    await bench.create_pod("forced", pod_spec(f"trap '' TERM; echo {mark}; while :; do sleep 1; done"))
    await bench.until_logged("forced", mark)
    await bench.client.raw("DELETE", bench.path("pods", "forced"), params={"gracePeriodSeconds": "0"})

    async def ended() -> bool:
        return not await asyncio.to_thread(is_running, mark)

    await bench.until("its processes are gone", ended)


def is_running(mark: str) -> bool:
    """Whether some process of this machine has a text in its command line."""
    return any(mark in argument for pid in all_pids() for argument in read_command(pid))

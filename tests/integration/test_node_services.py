"""Services, names, rollouts, and port forwards into the cluster and egress out of it."""

import http.server
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import aiohttp
import jwt

from tests.support.node_cluster import SERVER, Bench, NodeCluster, pod_spec

_MOUNTS = [{"name": "data", "mountPath": "/data"}]


def deployment(name: str, source: str, *, replicas: int = 1, **pod_fields: Any) -> dict[str, Any]:
    """A web server whose every answer is the content of a file or variable."""
    container = {
        "name": "main",
        "image": "example/python",
        "args": ["-c", SERVER, source],
        "env": [{"name": "VERSION", "value": "one"}],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1},
        **pod_fields.pop("container", {}),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], **pod_fields},
            },
        },
    }


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": "http"}]
    body = {"selector": {"app": name}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def client(*urls: str) -> dict[str, Any]:
    """A pod that asks for each of these again and again, and prints the answers."""
    asks = "; ".join(f"curl -s -m 2 {url} && echo" for url in urls)
    return pod_spec(f"while :; do {asks}; sleep 0.1; done", terminationGracePeriodSeconds=0)


async def until_rolled_out(bench: Bench, name: str, replicas: int) -> None:
    async def rolled_out() -> bool:
        found = await bench.get("deployments", name)
        status = found["status"]
        return (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("updatedReplicas") == status.get("replicas") == replicas
            and status.get("readyReplicas") == status.get("availableReplicas") == replicas
        )

    await bench.until(f"Deployment {name} is rolled out", rolled_out)


async def test_a_service_leads_to_a_deployment_that_rolls_when_its_template_changes(bench: Bench) -> None:
    await bench.create(deployment("web", "VERSION", replicas=2))
    await bench.create(service("web"))
    await bench.create_pod("client", client("http://web/"))
    await until_rolled_out(bench, "web", 2)
    await bench.until_logged("client", "one")
    before = {pod["metadata"]["name"] for pod in (await bench.get("pods"))["items"]}

    env = [{"name": "VERSION", "value": "two"}]
    found = await bench.get("deployments", "web")
    container = found["spec"]["template"]["spec"]["containers"][0] | {"env": env}
    await bench.patch("deployments", "web", {"spec": {"template": {"spec": {"containers": [container]}}}})
    await until_rolled_out(bench, "web", 2)
    await bench.until_logged("client", "two\ntwo\ntwo")

    async def only_new_ones() -> bool:
        names = {pod["metadata"]["name"] for pod in (await bench.get("pods"))["items"]}
        return names & before == {"client"} and len(names) == 3

    await bench.until("the old pods are gone", only_new_ones)


async def test_endpoint_slices_say_who_is_ready(bench: Bench) -> None:
    await bench.create(deployment("web", "VERSION"))
    await bench.create(service("web"))

    async def ready() -> bool:
        slices = (await bench.get("endpointslices"))["items"]
        return any(e["conditions"]["ready"] for s in slices for e in s.get("endpoints") or ())

    await bench.until("an endpoint is ready", ready)
    await bench.patch("deployments", "web", {"spec": {"replicas": 0}})

    async def empty() -> bool:
        slices = (await bench.get("endpointslices"))["items"]
        return not any(s.get("endpoints") for s in slices)

    await bench.until("no endpoint is left", empty)


async def test_a_service_without_endpoints_refuses_connections_at_once(bench: Bench) -> None:
    await bench.create(service("empty"))
    # 7 is curl's code for a refused connection; a lost one would be 28, after five seconds.
    command = "curl -s -m 5 http://empty/; echo curl says $?"
    await bench.create_pod("client", pod_spec(command, restartPolicy="Never"))
    await bench.until_phase("client", "Succeeded")
    assert bench.log("client") == "curl says 7\n"


async def test_services_have_all_their_names_also_in_pods_that_were_there_before(bench: Bench) -> None:
    names = ["late", f"late.{bench.namespace}", f"late.{bench.namespace}.svc"]
    names.append(f"late.{bench.namespace}.svc.cluster.local")
    echoes = "; ".join(f"getent hosts {name} >/dev/null && echo found {name}." for name in names)
    await bench.create_pod("client", pod_spec(f"while :; do {echoes}; sleep 0.2; done"))
    await bench.until_ready("client")
    await bench.create(service("late"))
    for name in names:
        await bench.until_logged("client", f"found {name}.")


async def test_a_short_name_belongs_to_its_own_namespace(node_cluster: NodeCluster, bench: Bench) -> None:
    await bench.create(service("private"))
    async with node_cluster.open_bench(f"{bench.namespace}-other") as other:
        full = f"private.{bench.namespace}"
        command = f"until getent hosts {full}; do sleep 0.1; done; getent hosts private || echo unknown"
        await other.create_pod("client", pod_spec(command, restartPolicy="Never"))
        await other.until_logged("client", "unknown")


async def test_a_headless_service_leads_to_its_pods(bench: Bench) -> None:
    found = deployment("peers", "VERSION")
    stateful = {**found, "kind": "StatefulSet", "spec": {**found["spec"], "serviceName": "peers"}}
    await bench.create(stateful)
    await bench.create(service("peers", clusterIP="None"))
    status = await bench.until_ready("peers-0")
    command = "until curl -s http://peers-0.peers:8080/; do sleep 0.1; done; getent hosts peers"
    await bench.create_pod("client", pod_spec(command, restartPolicy="Never"))
    await bench.until_phase("client", "Succeeded")
    assert bench.log("client").startswith("one")
    assert status["podIP"] in bench.log("client")


async def test_a_config_map_volume_follows_its_object(bench: Bench) -> None:
    await bench.create_config_map("page", text="first")
    files = {"volumeMounts": [{"name": "page", "mountPath": "/page"}]}
    volumes = [{"name": "page", "configMap": {"name": "page", "items": [{"key": "text", "path": "a/b"}]}}]
    await bench.create(deployment("web", "/page/a/b", container=files, volumes=volumes))
    await bench.create(service("web"))
    await bench.create_pod("client", client("http://web/"))
    await bench.until_logged("client", "first")
    await bench.patch("configmaps", "page", {"data": {"text": "second"}})
    await bench.until_logged("client", "second")
    pods = [p for p in (await bench.get("pods"))["items"] if p["metadata"]["name"].startswith("web-")]
    assert [s["restartCount"] for p in pods for s in p["status"]["containerStatuses"]] == [0]


_ASK_API = """\
import asyncio, os
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.kube.auth.credentials import load_connection
from kagenti_operator.kube.errors import ApiError

async def main():
    connection = load_connection(os.environ)
    async with KubeClient(connection) as client:
        try:
            await client.raw("GET", f"/api/v1/namespaces/{connection.namespace}/secrets")
        except ApiError as error:
            print(error.status, error.message)

asyncio.run(main())
"""


async def test_a_pods_token_is_its_service_accounts(bench: Bench) -> None:
    await bench.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}})
    container = {"image": "example/python", "args": ["-c", _ASK_API]}
    spec = pod_spec("", container=container, serviceAccountName="robot", restartPolicy="Never")
    await bench.create_pod("robot", spec)
    await bench.until_phase("robot", "Succeeded")
    assert bench.log("robot").startswith("403 ")
    assert f"system:serviceaccount:{bench.namespace}:robot" in bench.log("robot")


async def test_a_token_for_another_audience_is_projected_and_renewed(bench: Bench) -> None:
    token = {"path": "vault", "audience": "vault", "expirationSeconds": 600}
    volumes = [{"name": "data", "projected": {"sources": [{"serviceAccountToken": token}]}}]
    command = "cat /data/vault; echo; ls -l /data/vault"
    spec = pod_spec(command, container={"volumeMounts": _MOUNTS}, volumes=volumes, restartPolicy="Never")
    await bench.create_pod("vault", spec)
    await bench.until_phase("vault", "Succeeded")
    token, listing = bench.log("vault").splitlines()
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == ["vault"]
    assert "..data/vault" in listing


async def test_a_claim_outlives_its_pods(bench: Bench) -> None:
    metadata = {"name": "disk"}
    resources = {"requests": {"storage": "1Gi"}}
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": resources}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    await bench.create(claim)
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "disk"}}]
    container = {"volumeMounts": _MOUNTS}
    for name in ("first", "second"):
        command = f"echo {name} >> /data/log; cat /data/log"
        pod = pod_spec(command, container=container, volumes=volumes, restartPolicy="Never")
        await bench.create_pod(name, pod)
        await bench.until_phase(name, "Succeeded")
    assert bench.log("second") == "first\nsecond\n"


async def test_a_published_service_answers_on_the_machines_loopback(node_cluster: NodeCluster) -> None:
    async with node_cluster.open_bench("published") as bench, aiohttp.ClientSession() as session:
        await bench.create(deployment("web", "VERSION"))
        await bench.create(service("web"))
        await until_rolled_out(bench, "web", 1)

        async def answers() -> bool:
            try:
                async with session.get(f"http://{node_cluster.addresses['web']}/") as answer:
                    return await answer.text() == "one"
            except aiohttp.ClientError:
                return False

        await bench.until("the Service answers", answers)


@contextmanager
def machine_server(text: str) -> Generator[int]:
    """A web server on the machine's loopback; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"{text} {self.path}".encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing to print."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


_ASK_MACHINE = """\
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())
"""


async def test_pods_reach_the_outside_through_the_proxy_only(bench: Bench) -> None:
    with machine_server("greetings from") as port:
        address = f"http://host.containers.internal:{port}/outside"
        for name, image in (("out", "example/outgoing"), ("in", "example/python")):
            container = {"image": image, "args": ["-c", _ASK_MACHINE, address]}
            await bench.create_pod(name, pod_spec("", container=container, restartPolicy="Never"))
        await bench.until_phase("out", "Succeeded")
        await bench.until_phase("in", "Failed")
    assert bench.log("out") == "greetings from /outside\n"


async def test_connections_stay_open_while_backends_change(bench: Bench) -> None:
    # Says its name once a second for as long as somebody listens.
    speak = (
        "import socket, time\n"
        "server = socket.create_server(('0.0.0.0', 8080))\n"
        "while True:\n"
        "    peer = server.accept()[0]\n"
        "    import threading\n"
        "    def talk(peer=peer):\n"
        "        while True:\n"
        "            peer.sendall(b'tick\\n'); time.sleep(0.2)\n"
        "    threading.Thread(target=talk, daemon=True).start()\n"
    )
    probe = {"readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1}}
    container = {"args": ["-c", speak], **probe}
    await bench.create(deployment("talk", "VERSION", container=container))
    await bench.create(service("talk"))
    await until_rolled_out(bench, "talk", 1)
    wait = "until (: </dev/tcp/talk/80) 2>/dev/null; do sleep 0.1; done"
    listen = f"{wait}; exec 3<>/dev/tcp/talk/80; while read -r line <&3; do echo $line; done"
    await bench.create_pod("client", pod_spec(f"bash -c '{listen}'", restartPolicy="Never"))
    await bench.until_logged("client", "tick")
    await bench.patch("deployments", "talk", {"spec": {"replicas": 2}})
    await until_rolled_out(bench, "talk", 2)
    heard = bench.log("client").count("tick")
    await bench.until_logged("client", "tick\n" * (heard + 5))

"""The documents' commands that ask a cluster, on one; and what Helm says where two hold one object."""

import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from kagenti_devcluster.cluster.kubectl import (
    Manifest,
    apply,
    packaged_manifests,
    read_manifests,
    run_kubectl,
)
from kagenti_devcluster.testing.platform import SYSTEM, Platform, config_map_path
from kagenti_devcluster.toolchain import binaries
from kagenti_operator.contract import COLLECTOR_CONFIG, COLLECTOR_CONFIG_KEY, KAGENTI
from tests.support.cluster import Cluster
from tests.support.documents import PROGRAMS, ROOT, Block, Kind, find_blocks, find_documents

SERVICE_MONITOR_CRD = Path(__file__).with_name("service-monitor-crd.yaml")
# What takes pods is played elsewhere: `helm test` by tests/e2e/test_helm_release.py, logs by
# tests/integration/test_node_logs.py. Nobody forwards ports on the local cluster.
KUBECTL = """\
#!/bin/bash
case " $* " in *" port-forward "*|*" logs deploy/"*) exit 0 ;; esac
exec {program} "$@"
"""
HELM = """\
#!/bin/bash
case "$1" in test) exit 0 ;; esac
exec {program} "$@"
"""
# What a cluster with nothing in it has not got, to look for.
FINDS = "#!/bin/bash\nexec cat\n"
NOTHING = "#!/bin/bash\nexit 0\n"

TEMPLATE = f"""
{{{{ if not .Values.operatorManaged }}}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {COLLECTOR_CONFIG}
data:
  {COLLECTOR_CONFIG_KEY}: {{{{ .Values.text }}}}
{{{{ end }}}}
"""
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"

type Upgrade = Callable[..., subprocess.CompletedProcess[str]]


def meta(name: str, namespace: str = "team1", **more: object) -> Manifest:
    return {"name": name, "namespace": namespace, **more}


def build_surroundings() -> list[Manifest]:
    """What the documents take to be there: an agent of each kind, their accounts, MLflow's CR."""
    labels = {"app": "trip-planner"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "agent", "image": "agent"}]}}
    return [
        *packaged_manifests("mlflow"),
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("me")},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("trace-reader")},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": meta("trip-planner"),
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod},
        },
        {
            "apiVersion": "agents.x-k8s.io/v1beta1",
            "kind": "Sandbox",
            "metadata": meta("a-sandbox"),
            "spec": {"podTemplate": pod},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(COLLECTOR_CONFIG, SYSTEM)},
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": meta(KAGENTI.lease, SYSTEM),
        },
    ]


def find_order(block: Block) -> int:
    """What makes something comes first, what takes it away last."""
    order = ("create namespace team1", "create namespace", "--install kagenti-operator", "--install", "")
    return next(i for i, words in enumerate(order) if words in block.text) + 10 * ("uninstall" in block.text)


def find_cluster_blocks() -> list[Block]:
    blocks = [block for document in find_documents() for block in find_blocks(document)]
    found = (b for b in blocks if b.kind is Kind.COMMANDS and ("kubectl " in b.text or "helm " in b.text))
    return sorted(found, key=find_order)


@pytest.fixture
def shell(cluster: Cluster, tmp_path: Path) -> Callable[[Block], subprocess.CompletedProcess[str]]:
    """Runs a block as a person would, on the cluster."""
    scripts = {
        **dict.fromkeys((program for program in PROGRAMS if "/" not in program), NOTHING),
        "kubectl": KUBECTL.format(program=binaries.find("kubectl")),
        "helm": HELM.format(program=binaries.find("helm")),
        "grep": FINDS,
        "sed": '#!/bin/bash\nexec /usr/bin/sed "$@"\n',
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    (folder / "cat").symlink_to("/usr/bin/cat")
    environment = {"PATH": str(folder), "HOME": str(tmp_path), "KUBECONFIG": str(cluster.admin_kubeconfig)}

    def run(block: Block) -> subprocess.CompletedProcess[str]:
        script = block.text.replace("<namespace>", "team1").replace("<name>", "a-sandbox")
        call = ["/bin/bash", "-c", f"set -eo pipefail\n{script}\nwait\n"]
        return subprocess.run(
            call,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
async def cleaned(cluster: Cluster) -> AsyncIterator[None]:
    """Other tests of this package share the cluster."""
    yield
    helm = {"HOME": "/", "KUBECONFIG": str(cluster.admin_kubeconfig)}
    call = [binaries.find("helm"), "uninstall", "kagenti-operator", "traces", "--namespace", SYSTEM]
    subprocess.run([*call, "--ignore-not-found"], env=helm, check=True, capture_output=True)
    for gone in (
        ("mlflow", "mlflow"),
        ("namespace", "team1", "--wait=false"),
        ("clusterrolebinding", "me-metrics"),
        ("--namespace", SYSTEM, "configmap", COLLECTOR_CONFIG),
        ("--namespace", SYSTEM, "lease", KAGENTI.lease),
    ):
        await run_kubectl(cluster.admin_kubeconfig, "delete", "--ignore-not-found", *gone)


@pytest.mark.usefixtures("cleaned")
async def test_every_command_of_the_documents_that_asks_a_cluster_is_understood_by_one(
    cluster: Cluster, shell: Callable[[Block], subprocess.CompletedProcess[str]]
) -> None:
    await apply(cluster.admin_kubeconfig, read_manifests(SERVICE_MONITOR_CRD))
    first, *others = find_cluster_blocks()
    assert "create namespace team1" in first.text
    said = {first.where: shell(first)}
    await apply(cluster.admin_kubeconfig, build_surroundings())
    said |= {block.where: shell(block) for block in others}
    assert {where: done.stderr for where, done in said.items() if done.returncode} == {}


@pytest.fixture
def upgrade(cluster: Cluster, tmp_path: Path) -> Iterator[Upgrade]:
    """`upgrade("text", "--flag")` installs or upgrades the platform's chart with that configuration."""
    chart = tmp_path / "platform"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: platform\nversion: 1.0.0\n")
    (chart / "templates" / "config.yaml").write_text(TEMPLATE)
    environment = {"HOME": str(tmp_path), "KUBECONFIG": str(cluster.admin_kubeconfig)}

    def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        call = [binaries.find("helm"), *arguments, "--namespace", SYSTEM]
        return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)

    def install(text: str, *flags: str) -> subprocess.CompletedProcess[str]:
        return helm("upgrade", "--install", "platform", chart, "--set", f"text={text}", *flags)

    yield install
    assert helm("uninstall", "platform").returncode == 0


async def test_helm_4_refuses_the_upgrade_in_the_words_of_troubleshooting_until_the_chart_leaves_it_out(
    cluster: Cluster, api: Platform, upgrade: Upgrade
) -> None:
    assert upgrade("first").returncode == 0
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": COLLECTOR_CONFIG, "namespace": SYSTEM},
        "data": {COLLECTOR_CONFIG_KEY: "the operator's"},
    }
    apply = ("apply", "--server-side", "--force-conflicts", f"--field-manager={KAGENTI.manager}", "-f", "-")
    await run_kubectl(cluster.admin_kubeconfig, *apply, manifests=[config_map])

    refused = upgrade("second")
    assert refused.returncode != 0
    assert words(refused.stderr.partition("UPGRADE FAILED: ")[2]) in words(TROUBLESHOOTING.read_text())
    forced = upgrade("second", "--force-conflicts")
    assert forced.returncode == 0, forced.stderr
    left = upgrade("third", "--set=operatorManaged=true")
    assert left.returncode == 0, left.stderr
    path = config_map_path(SYSTEM, COLLECTOR_CONFIG)
    assert await api.get(path) is None


def words(text: str) -> str:
    """A text without its line ends, a quotation's marks, and the dot on a line of its own at Helm's end."""
    return " ".join(word for word in text.split() if word not in (">", "."))

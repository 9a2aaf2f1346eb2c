"""A chart of the platform's that holds the collector's ConfigMap, beside the operator that writes it."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kagenti_devcluster.cluster.kubectl import run_kubectl
from kagenti_devcluster.testing.platform import SYSTEM, Platform, config_map_path
from kagenti_devcluster.toolchain import binaries
from kagenti_operator.contract import COLLECTOR_CONFIG, COLLECTOR_CONFIG_KEY, KAGENTI
from tests.support.cluster import Cluster

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
TROUBLESHOOTING = Path(__file__).parents[3] / "docs/troubleshooting.md"

type Upgrade = Callable[..., subprocess.CompletedProcess[str]]


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

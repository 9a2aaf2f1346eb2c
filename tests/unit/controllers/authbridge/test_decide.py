from kagenti_operator.contract import KAGENTI
from kagenti_operator.controllers.authbridge.decide import decide
from kagenti_operator.controllers.authbridge.gates import Gates
from kagenti_operator.controllers.authbridge.inputs import NamespaceConfig, Surroundings
from kagenti_operator.controllers.authbridge.outcome import Unchanged
from kagenti_operator.controllers.authbridge.platform_config import PlatformConfig
from kagenti_operator.controllers.authbridge.workload import Workload


def test_a_pod_that_is_no_agent_is_left_alone() -> None:
    pod = {"metadata": {"name": "db"}, "spec": {"containers": [{"name": "db"}]}}
    outcome = decide(
        pod,
        Workload("StatefulSet", "db"),
        NamespaceConfig(namespace="team1"),
        Gates(),
        PlatformConfig(),
        Surroundings(names=KAGENTI),
    )
    assert outcome == Unchanged()

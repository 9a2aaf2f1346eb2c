"""The acceptance plan: its steps, in order."""

from kagenti_devcluster.demo import (
    steps_agent,
    steps_authbridge,
    steps_cluster,
    steps_experiments,
    steps_operator,
)
from kagenti_devcluster.demo.runner import Step
from kagenti_devcluster.demo.stage import Stage

PLAN: tuple[Step[Stage], ...] = (
    Step(
        title="Start the cluster",
        checks="etcd, API server and controller manager answer, and the platform is installed",
        run=steps_cluster.start,
    ),
    Step(
        title="Install the operator with helm",
        checks="its pod becomes ready under the chart's own permissions",
        run=steps_operator.install,
    ),
    Step(
        title="Deploy the weather agent into team1",
        checks=f"namespace, secret {steps_cluster.SECRET} and the agent's objects are accepted",
        run=steps_cluster.prepare_team,
    ),
    Step(
        title="Read the operator's log",
        checks="MLflow is made and becomes available; the operator logs its four messages with their keys",
        run=steps_operator.read_messages,
    ),
    Step(
        title="Read the collector's configuration",
        checks="ConfigMap otel-collector-config has workspace, experiment id, ca_file and "
        "bearertokenauth/mlflow, and the collector has been rolled onto it",
        run=steps_operator.read_configuration,
    ),
    Step(
        title="See the agent ready",
        checks="it runs, rolled with the environment for its own experiment",
        run=steps_agent.wait_ready,
    ),
    Step(
        title="Ask the agent by A2A",
        checks="message/send brings an answer",
        run=steps_agent.ask,
    ),
    Step(
        title="Find the trace of that request in MLflow",
        checks="MLflow's REST API has it in the experiment, with the spans of agent, chosen model and tool",
        run=steps_agent.read_trace,
    ),
    Step(
        title="Look for export errors",
        checks="the collector's log has none since the question",
        run=steps_agent.read_collector_log,
    ),
    Step(
        title="Give agents experiments of their own",
        checks="a Deployment, a StatefulSet and an agent of another team have Role, RoleBinding and MLFLOW_*",
        run=steps_experiments.deploy,
    ),
    Step(
        title="Log with the plain mlflow client",
        checks="each agent's trace and run are in its own experiment",
        run=steps_experiments.work,
    ),
    Step(
        title="Try to reach what is others'",
        checks="the same token is refused for other experiments of team1, and for everything in team2",
        run=steps_experiments.pry,
    ),
    Step(
        title="Remove the label of an agent",
        checks="grants and environment go, MLflow refuses its ServiceAccount, its data stays",
        run=steps_experiments.remove_label,
    ),
)

# With --keycloak, after the rest.
AUTHBRIDGE: tuple[Step[Stage], ...] = (
    Step(
        title="Switch AuthBridge on",
        checks="the operator serves its webhook, and team1 is enabled",
        run=steps_authbridge.switch_on,
    ),
    Step(
        title="See the agent behind its sidecar",
        checks="its pod has the sidecar, its client's Secret is owned by the workload",
        run=steps_authbridge.wait_sidecar,
    ),
    Step(
        title="Call the agent with and without a token",
        checks="401 without one, with a forged one, and with one of another realm; an answer with a good one",
        run=steps_authbridge.call,
    ),
    Step(
        title="Look at what the tool was called with",
        checks="a token that was exchanged for the tool's own audience, in the user's name",
        run=steps_authbridge.read_tool_log,
    ),
    Step(
        title="Find the trace of that call in MLflow",
        checks="the agent's spans pass its sidecar unharmed",
        run=steps_agent.read_trace,
    ),
)

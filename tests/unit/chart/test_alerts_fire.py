"""Which alerts fire for what a cluster looks like, and how bad they say that it is."""

from collections.abc import Mapping

from kagenti_operator.controllers.collector.delivery_diagnosis import REASONS
from tests.support.promql_queries import read_rules
from tests.unit.chart.promql import Moment, Series, series

JOB = "kagenti-controller-manager-metrics"
NOW = 1_000_000.0

LEADING = series("leader_election_master_status", name="b7c4ae34.kagenti.dev", job=JOB, instance="a")
SYNCED = series("kagenti_informer_synced", job=JOB, pod="a", informer="mlflows")
HEARD = series("kagenti_informer_last_heard_timestamp_seconds", job=JOB, pod="a", informer="mlflows")

# One replica that leads, on OpenShift with agents in two namespaces.
WELL: Mapping[Series, float] = {
    LEADING: 1,
    series("process_start_time_seconds", job=JOB, instance="a"): NOW - 90_000,
    # Somebody else's.
    series("process_start_time_seconds", job="grafana", instance="a"): NOW - 900_000,
    series("kagenti_agent_namespaces"): 2,
    series("kagenti_agent_namespaces_granted"): 2,
    series("kagenti_agents", state="configured"): 5,
    series("kagenti_agents", state="waiting"): 0,
    series("kagenti_mlflow_management_state", state="Managed"): 1,
    series("kagenti_mlflow_management_state", state="Removed"): 0,
    series("kagenti_mlflow_available"): 1,
    series("kagenti_mlflow_ready"): 1,
    series("kagenti_mlflow_cluster_role_found"): 1,
    series("kagenti_mlflow_last_contact_timestamp_seconds"): NOW - 200,
    series("kagenti_experiment_known"): 1,
    series("kagenti_collector_found"): 1,
    series("kagenti_collector_ready"): 1,
    series("kagenti_collector_config_in_place"): 1,
    **{series("kagenti_spans_refused", reason=reason): 0 for reason in REASONS},
    series("controller_runtime_reconcile_errors_total", job=JOB, controller="agents"): 0,
    series("controller_runtime_reconcile_panics_total", job=JOB, controller="agents"): 0,
    series("workqueue_longest_running_processor_seconds", job=JOB, name="agents"): 2,
    series("rest_client_requests_total", job=JOB, pod="a", method="GET", code="403"): 0,
    SYNCED: 1,
    HEARD: NOW - 160,
}


def firing(changes: Mapping[Series, float] | None = None, *, without: Series | None = None) -> dict[str, str]:
    """Alerts that fire when all is well but for these changes, and their severities."""
    samples = {key: value for key, value in WELL.items() if key != without} | dict(changes or {})
    moment = Moment(samples, now=NOW)
    return {rule["alert"]: rule["labels"]["severity"] for rule in read_rules() if moment.ask(rule["expr"])}


def test_none_while_all_is_well() -> None:
    assert firing() == {}


def test_nobody_leads() -> None:
    assert firing(without=LEADING) == {"KagentiOperatorNotLeading": "critical"}


def test_a_namespace_that_spans_do_not_go_to_lacks_the_binding() -> None:
    assert firing({series("kagenti_agent_namespaces_granted"): 1}) == {
        "KagentiAgentNamespaceNotGranted": "warning"
    }


def test_the_workspaces_namespace_lacks_the_binding() -> None:
    lacking = {
        series("kagenti_agent_namespaces_granted"): 1,
        series("kagenti_spans_refused", reason="WorkspaceNotGranted"): 1,
    }
    assert firing(lacking) == {
        "KagentiAgentNamespaceNotGranted": "warning",
        "KagentiSpansRefused": "critical",
    }


def test_a_missing_workspace_costs_the_spans_of_agents_if_there_are_any() -> None:
    refused = {series("kagenti_spans_refused", reason="WorkspaceNotConfigured"): 1}
    assert firing(refused) == {"KagentiSpansRefused": "critical"}
    nobody = {series("kagenti_agent_namespaces"): 0, series("kagenti_agent_namespaces_granted"): 0}
    assert firing(refused | nobody) == {}


def test_an_mlflow_that_says_that_it_is_available_but_does_not_answer() -> None:
    silent = {series("kagenti_mlflow_last_contact_timestamp_seconds"): NOW - 3600}
    assert firing(silent) == {"KagentiMLflowNotAnswering": "warning"}
    away = {series("kagenti_mlflow_available"): 0}
    assert firing(silent | away) == {"KagentiMLflowNotAvailable": "critical"}


def test_an_mlflow_that_has_not_answered_since_the_operator_was_started() -> None:
    contact = series("kagenti_mlflow_last_contact_timestamp_seconds")
    assert firing(without=contact) == {"KagentiMLflowNotAnswering": "warning"}
    started = {series("process_start_time_seconds", job=JOB, instance="a"): NOW - 60}
    assert firing(started, without=contact) == {}


def test_an_mlflow_that_was_removed_on_purpose() -> None:
    removed = {
        series("kagenti_mlflow_management_state", state="Managed"): 0,
        series("kagenti_mlflow_management_state", state="Removed"): 1,
        series("kagenti_mlflow_available"): 0,
        series("kagenti_mlflow_ready"): 0,
        series("kagenti_mlflow_cluster_role_found"): 0,
        series("kagenti_mlflow_last_contact_timestamp_seconds"): NOW - 90_000,
        series("kagenti_agent_namespaces_granted"): 0,
        series("kagenti_experiment_known"): 0,
    }
    assert firing(removed) == {}


def test_a_collector_whose_pods_crash_though_its_configuration_is_in_place() -> None:
    assert firing({series("kagenti_collector_ready"): 0}) == {"KagentiCollectorNotReady": "critical"}


def test_a_missing_collector_fires_one_alert() -> None:
    missing = {series("kagenti_collector_found"): 0, series("kagenti_collector_ready"): 0}
    assert firing(missing) == {"KagentiCollectorMissing": "critical"}


def test_refusals_that_are_expected_now_and_then_and_those_of_a_missing_permission() -> None:
    def refused(method: str, *each: float) -> Mapping[Series, float]:
        """The increase in 15 minutes, by pod."""
        about = {"job": JOB, "method": method, "code": "403"}
        return {
            series("rest_client_requests_total", **about, pod=pod): count
            for pod, count in zip("abc", each, strict=False)
        }

    # Four optional lists, of each of three replicas, at their fastest.
    assert firing(refused("GET", 120, 120, 120)) == {}
    # One key whose write is refused once a minute.
    assert firing(refused("PATCH", 15)) == {"KagentiPermissionMissing": "warning"}


def test_a_kind_of_which_nothing_is_heard() -> None:
    assert firing({HEARD: NOW - 1000}) == {"KagentiInformerSilent": "warning"}
    assert firing({SYNCED: 0}, without=HEARD) == {"KagentiInformerSilent": "warning"}

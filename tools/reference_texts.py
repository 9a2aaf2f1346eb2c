"""What the reference says of each name that the code holds by itself: where it is met, and what it means."""

from collections.abc import Mapping

from kagenti_operator.cli.errors import ExitStatus

# By the part after `mlflow.kagenti.io/`: on what it stands, and what it says.
MLFLOW_ANNOTATIONS: Mapping[str, tuple[str, str]] = {
    "inject": (
        "workload or pod template",
        "set by people: `disabled`, `false`, `off` or `no` opts out; `enabled` and `true` are as none",
    ),
    "experiment-id": ("pod template, Role", "the id of the agent's experiment"),
    "experiment-name": ("pod template", "its name"),
    "tracking-uri": ("pod template", "MLflow's address as the agent was given it"),
    "tracking-auth": ("pod template", "how its client authenticates: `kubernetes-namespaced`"),
    "left-out": ("pod template", "variables that the operator left out, because the workload sets others"),
    "experiment-creation-time": (
        "Role",
        "when the experiment was created, in milliseconds since 1970: another database has other times",
    ),
    "mlflow-uid": ("Role", "the uid of the MLflow CR that the experiment is of"),
    "collector-experiments": (
        "RoleBinding `otel-collector-mlflow`",
        "ids and creation times of the collector's experiments in that workspace",
    ),
}

# On which object, and what it says. The message of the Event itself says what to do.
EVENTS: Mapping[str, tuple[str, str]] = {
    "AccessNotGranted": ("MLflow CR", "the collector's RoleBinding of a namespace could not be written"),
    "AccessNotRevoked": ("MLflow CR", "the collector's RoleBinding of a namespace could not be deleted"),
    "AgentsAddressMissing": ("MLflow CR", "its status lacks the one address that agents are to use"),
    "AgentsWithOtherLabels": (
        "operator's Deployment",
        "no workload has the configured labels, and some have others that agents are known by",
    ),
    "AuthBridgeConfigNotWritten": (
        "Namespace, ConfigMap, workload",
        "a ConfigMap that AuthBridge needs was refused: the namespace's inputs, or a workload's file",
    ),
    "AuthBridgeNotResumed": ("workload", "a Sandbox was scaled down for its new file, and not up again"),
    "AuthBridgeNotRolledOut": ("workload", "its file is new, and its pods could not be replaced"),
    "AuthBridgeNotWritten": ("workload, pod", "what its pod needs could not be written: the pod is refused"),
    "AuthBridgeRefused": ("workload, pod", "its pods are refused, or will be; the key to mend is named"),
    "AuthBridgeWarning": ("workload, pod", "a setting is not followed, and what is done instead"),
    "ClientNotRegistered": ("workload", "its client in Keycloak, or the Secret of it, could not be made"),
    "ClusterRoleMissing": ("MLflow CR", "there is no ClusterRole that the collector could be bound to"),
    "CollectorTokenRenewed": (
        "Deployment `otel-collector`",
        "it was rolled, as a collector of its version keeps a token that expires",
    ),
    "CollectorWrittenByPlatform": (
        "operator's Deployment",
        "the platform's own operator writes the collector's configuration, and this one does not",
    ),
    "ConfigurationKept": (
        "Deployment `otel-collector`",
        "a configuration that somebody else wrote stays until the operator's is complete",
    ),
    "ConfigurationNotUsable": (
        "ConfigMap `kagenti-feature-gates` or `kagenti-platform-config`",
        "it does not parse: what it said last goes on to hold",
    ),
    "ConfigurationNotWritten": (
        "Deployment `otel-collector`",
        "the collector's ConfigMap or its rollout was refused",
    ),
    "ConfigurationReplaced": (
        "Deployment `otel-collector`",
        "a configuration that somebody else wrote was replaced; its exporters are named",
    ),
    "ConsoleLinkNotDeleted": ("ConsoleLink", "the link to MLflow could not be deleted"),
    "ConsoleLinkNotWritten": ("MLflow CR", "the link to MLflow in OpenShift's console could not be written"),
    "ConstraintsMissing": (
        "operator's Deployment",
        "OpenShift has no SecurityContextConstraints of that name for the sidecar",
    ),
    "ConstraintsNotGranted": ("Namespace", "RoleBinding `agent-authbridge-scc` could not be written"),
    "ConstraintsNotRevoked": ("Namespace", "RoleBinding `agent-authbridge-scc` could not be deleted"),
    "DashboardAddressNotWritten": (
        "ConfigMap `kagenti-ui-config`",
        "MLflow's address could not be written for the platform's interface",
    ),
    "ExperimentNotAvailable": (
        "MLflow CR, agent",
        "the collector's or the agent's experiment could not be made or found, or is another's",
    ),
    "ExtraConfigurationIgnored": (
        "ConfigMap `otel-collector-extra`",
        "a key of it is left out of the collector's configuration",
    ),
    "GatewayNotTrusted": ("MLflow CR", "agents are given MLflow's Service instead of its gateway"),
    "IngressCANotWritten": ("Deployment `otel-collector`", "ConfigMap `otel-ingress-ca` was refused"),
    "LeaderElection": ("Lease", "a replica began or ended to lead"),
    "MLflowCANotUsed": ("Deployment `otel-collector`", "the file of `mlflow.caFile` brings no certificate"),
    "MLflowConfigurationUndone": ("agent", "another controller keeps reverting the agent's environment"),
    "MLflowConfigured": ("agent", "its pods have their environment; the experiment is named"),
    "MLflowGone": ("agent", "there is no MLflow CR any more, and the environment was taken out"),
    "MLflowInjectNotUnderstood": ("agent", "the annotation `mlflow.kagenti.io/inject` holds another word"),
    "MLflowNotConfigured": ("agent", "the change of its pod template was refused"),
    "MLflowNotCreated": ("DataScienceCluster", "the MLflow CR was refused"),
    "MLflowNotGranted": ("agent", "its Role or RoleBinding could not be written"),
    "MLflowNotManaged": (
        "MLflow CR",
        "component `mlflowoperator` is not `Managed`: the collector is granted nothing",
    ),
    "MLflowNotRevoked": ("agent", "its Role or RoleBinding could not be deleted"),
    "MLflowNotRolledOut": ("agent", "its template has the variables, and not all of its pods do"),
    "MLflowNotUsable": ("agent", "its pods cannot use what they are given: a token, a proxy, a workspace"),
    "MLflowReferenceNotExpanded": (
        "agent",
        "a variable refers to one of the operator's that stands after it",
    ),
    "MLflowRoleGrantedToOthers": (
        "agent, RoleBinding",
        "somebody else's RoleBinding refers to the agent's Role, which grants nothing meanwhile",
    ),
    "MLflowRoleNotEmptied": (
        "agent",
        "somebody else's RoleBinding refers to the agent's Role, and that could not be emptied",
    ),
    "MLflowRoleSharedWithUnreadable": (
        "agent",
        "a workload of another kind has its name and shares its Role, and cannot be read",
    ),
    "MLflowTokenNotRequested": (
        "ServiceAccount `kagenti-mlflow-client`",
        "its token may not be requested: the operator authenticates to MLflow with its own",
    ),
    "MLflowUnmanaged": ("MLflow CR", "no DataScienceCluster manages MLflow: the access is yours to grant"),
    "MLflowVariablesKept": ("agent", "variables of its own win, and what does not go with them is left out"),
    "MLflowWrittenByPlatform": (
        "operator's Deployment",
        "the platform's own operator writes MLflow's access and experiments, and this one does not",
    ),
    "MalformedAddress": ("MLflow CR", "an address in its status has no host that can be used"),
    "NoReadyEndpoint": ("MLflow CR", "it says `Available`, and its Service has no ready endpoint"),
    "RolloutWaitsForMLflow": (
        "Deployment `otel-collector`",
        "its first rollout waits for an MLflow that is on its way",
    ),
    "TLSBridgeNotReady": ("workload", "the Issuer or the Certificate of its TLS bridge was refused"),
    "TLSBridgeWithoutCertificate": (
        "workload",
        "the TLS bridge needs cert-manager, which is not there, or has issued no certificate yet",
    ),
    "TokenNotSent": ("MLflow CR", "its address is `http://`, so the collector sends no token"),
    "TokenSentUnencrypted": ("MLflow CR", "its address is `http://`, and the token is sent all the same"),
    "WorkspaceNotConfigured": ("MLflow CR", "`mlflow.workspace` is empty: MLflow refuses every span"),
    "WriteReverted": (
        "the object, or where its failure is reported",
        "another writer keeps reverting the operator's write",
    ),
}

# Words of the controllers that look like reasons and are none.
NO_EVENTS = {
    "ApplicationMenu",
    "IfNotPresent",
    "OnDelete",
    "ReadWriteOnce",
    "ReplicaSet",
    "ServiceAccount",
    "StatefulSet",
    "TlsContext",
    "TokenRequest",
    # Of the metric kagenti_spans_refused; the Event of it is AccessNotGranted.
    "WorkspaceNotGranted",
}

EXIT_STATUS: Mapping[ExitStatus, str] = {
    ExitStatus.DONE: "`run` was ended by SIGTERM or SIGINT; `check` found all well",
    ExitStatus.FAILED: (
        "something that somebody has to mend, in one sentence on stderr; `run` also when it loses its lease, "
        "so that the pod starts anew, and after a failure that ends it, with a traceback"
    ),
    ExitStatus.BAD_FLAGS: "a flag or its value is not understood; the usage is on stderr",
    ExitStatus.INTERRUPTED: "Ctrl-C before `run` began its work, or while `check` looks",
}

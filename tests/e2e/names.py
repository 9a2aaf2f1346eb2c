"""What things are called on the platform that the shared cluster looks like: the default one."""

from kagenti_devcluster.profiles import DEFAULT

NAMES = DEFAULT.names
PLATFORM = NAMES.namespace
OPERATOR = NAMES.deployment
MLFLOW_NAMESPACE = DEFAULT.applications

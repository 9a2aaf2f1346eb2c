from kagenti_operator.controllers.mlflow.console_link import build_link
from kagenti_operator.kube.objects.models import KubeObject, ObjectMeta


def test_the_link_goes_with_the_role_that_permits_it() -> None:
    role = KubeObject(metadata=ObjectMeta(name="kagenti-controller-manager-console-link", uid="1-2"))
    assert build_link("https://mlflow.example.com/mlflow/", role) == {
        "apiVersion": "console.openshift.io/v1",
        "kind": "ConsoleLink",
        "metadata": {
            "name": "kagenti-mlflow",
            "labels": {"app.kubernetes.io/managed-by": "kagenti-operator"},
            "ownerReferences": [
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRole",
                    "name": "kagenti-controller-manager-console-link",
                    "uid": "1-2",
                }
            ],
        },
        "spec": {
            "href": "https://mlflow.example.com/mlflow/",
            "text": "MLflow",
            "location": "ApplicationMenu",
            "applicationMenu": {"section": "Kagenti"},
        },
    }


def test_without_that_role_nothing_owns_it() -> None:
    assert "ownerReferences" not in build_link("https://mlflow.example.com/", None)["metadata"]

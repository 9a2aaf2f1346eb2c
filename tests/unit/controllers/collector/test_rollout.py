"""When the collector is rolled, and what its pod template then says."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kagenti_operator.controllers.collector.rollout import (
    annotate,
    hash_certificates,
    kept_token_seconds,
    seconds_to_roll,
)
from kagenti_operator.controllers.collector.workload import (
    collector_image,
    collector_memory_bytes,
    is_oauth_client,
)
from kagenti_operator.kube.objects.workloads import Workload

IMAGE = "otel/opentelemetry-collector-contrib"
FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
RENEWED = "kagenti.io/otel-token-renewed-at"
HASHES = {"kagenti.io/otel-config-hash": "c", "kagenti.io/otel-ca-hash": "a"}
NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
HOUR = 3600.0
YEAR = 365 * 24 * HOUR


def deployment(
    *containers: Mapping[str, Any],
    volumes: tuple[Mapping[str, Any], ...] = (),
) -> Workload:
    template = {"spec": {"containers": containers, "volumes": volumes}}
    return msgspec.convert({"metadata": {"name": "otel-collector"}, "spec": {"template": template}}, Workload)


def collector(tag: str) -> Workload:
    return deployment({"name": "otel-collector", "image": f"{IMAGE}:{tag}"})


def with_volume(seconds: int, *, path: str = "token", mount_path: str = FOLDER) -> Workload:
    """A collector that brings a token along instead of the one that admission adds."""
    token = {"path": path, "expirationSeconds": seconds}
    mounted = {"name": "own", "mountPath": mount_path}
    container = {"name": "otel-collector", "image": f"{IMAGE}:0.149.0", "volumeMounts": [mounted]}
    sources = [{"configMap": {"name": "kube-root-ca.crt"}}, {"serviceAccountToken": token}]
    return deployment(
        container,
        volumes=({"name": "config", "configMap": {}}, {"name": "own", "projected": {"sources": sources}}),
    )


def at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_collectors_container_is_found_by_name_else_the_first() -> None:
    def images(*containers: tuple[str, str]) -> Workload:
        return deployment(*({"name": name, "image": image} for name, image in containers))

    assert collector_image(None) == ""
    assert collector_image(images(("side", "a"), ("otel-collector", "b"))) == "b"
    assert collector_image(images(("main", "a"), ("side", "b"))) == "a"
    assert collector_image(images()) == ""


def test_the_certificates_hash_follows_every_bundle() -> None:
    assert hash_certificates(None, None) is None
    assert hash_certificates("a", None) != hash_certificates("a", "b")
    assert hash_certificates("a", "b") == hash_certificates("a", "b")


@pytest.mark.parametrize("tag", ["0.138.0", "0.152.0", "0.165.1", "1.0.0"])
def test_a_collector_that_reads_a_renewed_token_is_left_alone(tag: str) -> None:
    assert kept_token_seconds(collector(tag), HOUR) is None


@pytest.mark.parametrize("tag", ["0.139.0", "0.149.0", "0.151.0", "latest"])
def test_others_keep_a_token_for_as_long_as_pods_get_them(tag: str) -> None:
    assert kept_token_seconds(collector(tag), HOUR) == HOUR
    assert kept_token_seconds(collector(tag), YEAR) == YEAR
    assert kept_token_seconds(collector(tag), None) is None


def test_a_token_of_its_own_says_itself_how_long_it_lives() -> None:
    assert kept_token_seconds(with_volume(600), YEAR) == 600
    assert kept_token_seconds(with_volume(600), None) == 600
    assert kept_token_seconds(with_volume(600, mount_path=f"{FOLDER}/"), YEAR) == 600


def test_a_copy_of_what_admission_adds_gets_what_pods_get() -> None:
    assert kept_token_seconds(with_volume(3607), YEAR) == YEAR


def test_tokens_that_the_collector_does_not_send_do_not_count() -> None:
    assert kept_token_seconds(with_volume(600, path="vault-token"), YEAR) == YEAR
    assert kept_token_seconds(with_volume(600, mount_path="/var/run/secrets/vault"), YEAR) == YEAR


def test_a_roll_is_due_well_before_the_token_expires() -> None:
    assert seconds_to_roll(at(NOW), HOUR, NOW) == pytest.approx(0.6 * HOUR)
    assert seconds_to_roll(at(NOW), HOUR, NOW + timedelta(minutes=36)) <= 0


@pytest.mark.parametrize(
    "written",
    [None, "", "yesterday", "2026-11-24T12:00:00", at(NOW + timedelta(days=1))],
    ids=["never", "empty", "no time", "no zone", "in the future"],
)
def test_a_roll_is_due_where_nobody_knows_when_the_last_one_was(written: str | None) -> None:
    assert seconds_to_roll(written, HOUR, NOW) == 0


def test_nothing_is_written_down_where_the_token_does_not_matter() -> None:
    assert annotate({}, HASHES, RENEWED, None, NOW) == HASHES


def test_the_time_of_the_last_roll_stays_until_the_next_is_due() -> None:
    written = {**HASHES, RENEWED: at(NOW)}
    for age in (timedelta(0), timedelta(minutes=35)):
        assert annotate(written, HASHES, RENEWED, HOUR, NOW + age) == written
    due = NOW + timedelta(minutes=36)
    assert annotate(written, HASHES, RENEWED, HOUR, due) == {**HASHES, RENEWED: at(due)}


def test_who_takes_the_annotations_out_gets_the_same_back() -> None:
    written = {**HASHES, RENEWED: at(NOW)}
    later = NOW + timedelta(minutes=5)
    assert annotate({}, HASHES, RENEWED, HOUR, later, written=written) == written
    other = {**HASHES, "kagenti.io/otel-config-hash": "b"}
    assert annotate({}, other, RENEWED, HOUR, later, written=written) == {**other, RENEWED: at(later)}


def test_a_roll_for_another_reason_counts() -> None:
    later = NOW + timedelta(minutes=5)
    changed = {**HASHES, "kagenti.io/otel-ca-hash": "b"}
    annotated = annotate({**HASHES, RENEWED: at(NOW)}, changed, RENEWED, HOUR, later)
    assert annotated == {**changed, RENEWED: at(later)}


def test_the_memory_limit_is_the_collectors_own() -> None:
    def limited(**containers: Mapping[str, str]) -> Workload:
        return deployment(
            *({"name": name, "resources": {"limits": limits}} for name, limits in containers.items())
        )

    assert collector_memory_bytes(
        limited(side={"memory": "1Gi"}, **{"otel-collector": {"memory": "64Mi"}})
    ) == (64 * 2**20)
    assert collector_memory_bytes(limited(main={"cpu": "1"})) is None
    assert collector_memory_bytes(collector("0.149.0")) is None
    assert collector_memory_bytes(None) is None


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (
            {"env": [{"name": "MLFLOW_CLIENT_ID", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            True,
        ),
        ({"env": [{"name": "MLFLOW_CLIENT_ID", "value": "collector"}]}, True),
        ({"envFrom": [{"secretRef": {"name": "mlflow-oauth-secret"}}]}, True),
        ({"env": [{"name": "KEYCLOAK_TOKEN_URL", "value": "https://keycloak"}]}, False),
        (
            {"envFrom": [{"configMapRef": {"name": "mlflow-oauth-secret"}}, {"secretRef": {"name": "x"}}]},
            False,
        ),
        ({}, False),
    ],
    ids=[
        "from a Secret's key",
        "by value",
        "from a whole Secret",
        "another variable",
        "other sources",
        "none",
    ],
)
def test_an_oauth_client_is_known_by_its_environment(container: Mapping[str, Any], expected: bool) -> None:
    side = {"name": "side", "env": [{"name": "MLFLOW_CLIENT_ID", "value": "side"}]}
    assert is_oauth_client(deployment(side, {"name": "otel-collector", **container})) is expected
    assert not is_oauth_client(None)

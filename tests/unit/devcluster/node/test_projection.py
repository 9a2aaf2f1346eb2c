"""The files of a volume, and how they change."""

import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from kagenti_devcluster.node.atomicdir import write_files
from kagenti_devcluster.node.environ import SourceMissing
from kagenti_devcluster.node.models import TokenSource
from kagenti_devcluster.node.projection import File, digest, is_projected, project, tokens_of
from tests.unit.devcluster.node.builders import FACTS, build_volume

CONTENT: dict[tuple[str, str], Mapping[str, bytes]] = {
    ("ConfigMap", "settings"): {"a": b"A", "b": b"B"},
    ("Secret", "keys"): {"key": b"\x00\xff"},
    ("ConfigMap", "kube-root-ca.crt"): {"ca.crt": b"CA"},
}


def lookup(kind: str, name: str) -> Mapping[str, bytes] | None:
    return CONTENT.get((kind, name))


def token_of(source: TokenSource) -> str:
    return f"token for {source.audience or 'the API server'}"


def test_a_config_map_becomes_a_file_for_each_key() -> None:
    volume = build_volume(configMap={"name": "settings", "defaultMode": 0o600})
    assert project(volume, FACTS, lookup, token_of) == {"a": File(b"A", 0o600), "b": File(b"B", 0o600)}


def test_items_choose_keys_paths_and_modes() -> None:
    items = [{"key": "b", "path": "deep/er", "mode": 0o400}]
    volume = build_volume(configMap={"name": "settings", "items": items})
    assert project(volume, FACTS, lookup, token_of) == {"deep/er": File(b"B", 0o400)}


def test_a_secret_keeps_its_bytes() -> None:
    volume = build_volume(secret={"secretName": "keys"})
    assert project(volume, FACTS, lookup, token_of) == {"key": File(b"\x00\xff")}


def test_the_service_accounts_volume_as_admission_makes_it() -> None:
    field = {"fieldRef": {"fieldPath": "metadata.namespace"}, "path": "namespace"}
    volume = build_volume(
        projected={
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {
                    "configMap": {
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                        "name": "kube-root-ca.crt",
                    }
                },
                {"downwardAPI": {"items": [field]}},
            ],
        }
    )
    assert project(volume, FACTS, lookup, token_of) == {
        "token": File(b"token for the API server"),
        "ca.crt": File(b"CA"),
        "namespace": File(b"team1"),
    }
    assert [source.expiration_seconds for source in tokens_of(volume)] == [3607]


def test_optional_sources_may_lack_objects_and_keys() -> None:
    items = [{"key": "a", "path": "a"}, {"key": "none", "path": "none"}]
    sources = [
        {"configMap": {"name": "absent", "optional": True}},
        {"configMap": {"name": "settings", "items": items, "optional": True}},
    ]
    volume = build_volume(projected={"sources": sources})
    assert set(project(volume, FACTS, lookup, token_of)) == {"a"}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"configMap": {"name": "absent"}}, "ConfigMap 'absent' does not exist"),
        ({"secret": {"secretName": "absent"}}, "Secret 'absent' does not exist"),
        (
            {"configMap": {"name": "settings", "items": [{"key": "z", "path": "z"}]}},
            "ConfigMap 'settings' has no key 'z'",
        ),
        ({"projected": {"sources": [{"clusterTrustBundle": {"path": "x"}}]}}, "of a kind that the cluster"),
    ],
)
def test_what_is_missing_is_named(source: dict[str, object], problem: str) -> None:
    with pytest.raises(SourceMissing, match=problem):
        project(build_volume(**source), FACTS, lookup, token_of)


def test_only_volumes_made_from_objects_are_projected() -> None:
    assert not is_projected(build_volume(emptyDir={}))
    assert is_projected(build_volume(downwardAPI={}))


def test_a_digest_changes_with_content_names_and_modes() -> None:
    files = [{"a": File(b"1")}, {"a": File(b"2")}, {"b": File(b"1")}, {"a": File(b"1", 0o600)}, {}]
    assert len({digest(f) for f in files}) == len(files)


def test_all_files_change_in_one_step(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": File(b"1", 0o640), "deep/er": File(b"2"), "old": File(b"3")})
    assert (tmp_path / "deep" / "er").read_bytes() == b"2"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    with (tmp_path / "a").open("rb") as still_open:
        write_files(tmp_path, {"a": File(b"new"), "deep/er": File(b"2")})
        assert still_open.read() == b"1"
    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["a", "deep"]
    # The link, and what it points to.
    assert len([p for p in tmp_path.iterdir() if p.name.startswith("..")]) == 2
    assert (tmp_path / "a").readlink() == Path("..data/a")


def test_a_volume_without_files_is_an_empty_directory(tmp_path: Path) -> None:
    write_files(tmp_path / "v", {})
    assert [p.name for p in (tmp_path / "v").iterdir() if not p.name.startswith("..")] == []

"""Finding and following the cluster's logs."""

from pathlib import Path

import pytest

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.logs import Follower, LogFile, select_logs
from kagenti_devcluster.host.paths import StatePaths
from tests.support.container_logs import append_log


def logs_of(*names: str) -> list[LogFile]:
    return [LogFile(name, Path(name)) for name in names]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("etcd", ["etcd"]),
        ("web", ["a/web-1/main", "a/web-1/side", "b/web-2/main"]),
        ("web-1", ["a/web-1/main", "a/web-1/side"]),
        ("b/web", ["b/web-2/main"]),
        ("web/side", ["a/web-1/side"]),
        ("a/web/main", ["a/web-1/main"]),
    ],
)
def test_logs_are_found_by_component_or_by_the_beginning_of_a_pods_name(
    wanted: str, found: list[str]
) -> None:
    logs = logs_of("node", "etcd", "a/web-1/main", "a/web-1/side", "b/web-2/main")
    assert [log.name for log in select_logs(logs, wanted)] == found


def test_a_log_that_does_not_exist_is_reported_with_those_that_do() -> None:
    with pytest.raises(DevClusterError, match="no log of 'x'; those that there are: node, etcd"):
        select_logs(logs_of("node", "etcd"), "x")


def test_a_follower_gives_what_is_added_also_by_new_pods(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    log = append_log(paths, "web-1", "before\n")
    follower = Follower(paths, "web")
    assert follower.poll() == []
    log.write_text("before\nafter\n")
    append_log(paths, "web-2", "new\n")
    append_log(paths, "other-1", "else\n")
    assert sorted((f.name, text) for f, text in follower.poll()) == [
        ("team1/web-1/main", "after\n"),
        ("team1/web-2/main", "new\n"),
    ]
    log.write_text("cut\n")
    assert [text for _, text in follower.poll()] == ["cut\n"]

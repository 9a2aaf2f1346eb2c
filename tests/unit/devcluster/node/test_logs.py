"""How long logs get, and how many pods' are kept."""

import os
from pathlib import Path

from kagenti_devcluster.host.logs import find_logs, read_lines
from kagenti_devcluster.host.paths import StatePaths
from kagenti_devcluster.node.logs import bound_file, forget_pods
from tests.support.container_logs import append_log


def test_a_log_that_is_too_long_is_moved_away_and_still_read(tmp_path: Path) -> None:
    log = append_log(StatePaths(tmp_path), "web-1", "one\ntwo\n")
    assert not bound_file(log, limit=100)
    with log.open("a") as component:
        assert bound_file(log, limit=4)
        component.write("three\n")
    assert log.read_text() == "three\n"
    assert read_lines(log, None) == ["one", "two", "three"]
    assert read_lines(log, 2) == ["two", "three"]
    assert [f.name for f in find_logs(StatePaths(tmp_path))] == ["team1/web-1/main"]


def test_the_logs_of_the_latest_pods_are_kept(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    for number in range(4):
        folder = append_log(paths, f"web-{number}", "x").parent
        os.utime(folder, (number, number))
    forget_pods(paths.logs, lambda _, pod: pod == "web-0", keep=2)
    assert sorted(p.name for p in paths.logs.glob("*/*")) == ["web-0", "web-2", "web-3"]

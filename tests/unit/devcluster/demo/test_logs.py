"""The logs of a workload's pods."""

from pathlib import Path

from kagenti_devcluster.demo.logs import PodLogs
from kagenti_devcluster.host.paths import StatePaths
from tests.support.container_logs import append_log


def test_logs_of_a_workload_are_those_of_its_pods(tmp_path: Path):
    paths = StatePaths(tmp_path)
    append_log(paths, "weather-agent-6d5f7c9b8d-x7k2p", "one\n")
    append_log(paths, "weather-1", "another's\n")
    append_log(paths, "weather-agent-test", "a test's\n")
    assert PodLogs(paths).read("team1", "weather-agent") == ["one"]


def test_since_a_mark_there_are_only_new_lines_and_new_pods(tmp_path: Path):
    paths = StatePaths(tmp_path)
    logs = PodLogs(paths)
    append_log(paths, "weather-agent-1", "old\n")
    logs.mark("team1", "weather-agent")
    append_log(paths, "weather-agent-1", "new\n")
    append_log(paths, "weather-agent-2", "newer\n")
    assert sorted(logs.since_mark("team1", "weather-agent")) == ["new", "newer"]

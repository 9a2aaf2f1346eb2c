"""Options of a cluster."""

from pathlib import Path

from kagenti_devcluster.host.options import ClusterOptions, Published


def test_options_survive_the_way_to_the_next_process() -> None:
    published = Published(name="web", namespace="a", service="web", port=80, host_port=8080)
    options = ClusterOptions(directory=Path("/state"), images=Path("/x.yaml"), published=(published,))
    assert ClusterOptions.decode(options.encode()) == options

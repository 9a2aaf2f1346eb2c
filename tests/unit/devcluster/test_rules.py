"""The cluster's decisions outside of the node: images, logs, egress, what people see."""

import os
from pathlib import Path
from typing import Any

import pytest

from kagenti_devcluster.errors import DevClusterError
from kagenti_devcluster.host.egress import (
    BadRequest,
    authorize,
    egress_variables,
    find_next_proxy,
    parse_request,
)
from kagenti_devcluster.host.logs import Follower, LogFile, find_logs, read_lines, select_logs
from kagenti_devcluster.host.options import ClusterOptions, Published
from kagenti_devcluster.host.overview import Overview, render_overview
from kagenti_devcluster.host.paths import StatePaths, default_directory
from kagenti_devcluster.node.images import Image, ImageError, ImageTable, load_images, repository_of
from kagenti_devcluster.node.logs import bound_file, forget_pods
from kagenti_devcluster.process.logfile import LogFile as ContainerLog
from kagenti_devcluster.process.logfile import copy as copy_output

# --- images --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "repository"),
    [
        ("web", "web"),
        ("web:1.2", "web"),
        ("registry.example:5000/team/web", "registry.example:5000/team/web"),
        ("registry.example:5000/team/web:1.2", "registry.example:5000/team/web"),
        ("example/web@sha256:0123", "example/web"),
        ("example/web:1@sha256:0123", "example/web"),
    ],
)
def test_an_images_repository_has_no_tag_and_no_digest(reference: str, repository: str) -> None:
    assert repository_of(reference) == repository


def find(kind: str, name: str) -> str:
    return f"<{kind} {name}>".replace(" >", ">")


def test_the_first_image_that_matches_is_taken_and_its_placeholders_are_resolved() -> None:
    table = ImageTable(
        [
            Image(image="example/web", entrypoint=("{bin:web}",), env={"PATH": "{env:x}/bin:{venv}/bin"}),
            Image(image="example/*", entrypoint=("{python}", "-m", "{unknown}")),
        ],
        find,
    )
    web = table.resolve("example/web:7")
    assert web.entrypoint == ("<bin web>",)
    assert web.env == {"PATH": "<env x>/bin:<venv>/bin"}
    assert table.resolve("example/other").entrypoint == ("<python>", "-m", "{unknown}")


def test_an_unknown_image_is_an_error_that_says_where_to_add_it() -> None:
    with pytest.raises(ImageError, match=r"example/web: add it to a table like images\.yaml"):
        ImageTable([], find).resolve("example/web:1")


@pytest.mark.parametrize(
    ("placeholder", "told"),
    [
        ("{bin:foo}", r"\{bin:foo\}, but no binary has that name: there are etcd, .*otelcol"),
        ("{env:foo}", r"\{env:foo\}, but no environment has that name: there are mlflow-3.10, .*, agent"),
    ],
)
def test_a_placeholder_for_what_does_not_exist_is_told_with_what_does(placeholder: str, told: str) -> None:
    images = ImageTable([Image(image="example/web", entrypoint=(placeholder,))])
    with pytest.raises(ImageError, match=told):
        images.resolve("example/web:1")


def test_a_table_with_a_mistake_is_named(tmp_path: Path) -> None:
    table = tmp_path / "images.yaml"
    table.write_text("images: [{image: x, comand: [y]}]")
    with pytest.raises(DevClusterError, match=r"images\.yaml cannot be used: .*comand"):
        load_images([table])


# --- logs ----------------------------------------------------------------------------------------------


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


def test_a_log_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(DevClusterError, match="no log of 'x'; those that there are: node, etcd"):
        select_logs(logs_of("node", "etcd"), "x")


def write_log(paths: StatePaths, pod: str, text: str) -> Path:
    path = paths.container_log("team1", pod, "main")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_follower_gives_what_is_added_also_by_new_pods(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    log = write_log(paths, "web-1", "before\n")
    follower = Follower(paths, "web")
    assert follower.poll() == []
    log.write_text("before\nafter\n")
    write_log(paths, "web-2", "new\n")
    write_log(paths, "other-1", "else\n")
    assert sorted((f.name, text) for f, text in follower.poll()) == [
        ("team1/web-1/main", "after\n"),
        ("team1/web-2/main", "new\n"),
    ]
    log.write_text("cut\n")
    assert [text for _, text in follower.poll()] == ["cut\n"]


def test_a_log_that_is_too_long_is_moved_away_and_still_read(tmp_path: Path) -> None:
    log = write_log(StatePaths(tmp_path), "web-1", "one\ntwo\n")
    assert not bound_file(log, limit=100)
    with log.open("a") as component:
        assert bound_file(log, limit=4)
        component.write("three\n")
    assert log.read_text() == "three\n"
    assert read_lines(log, None) == ["one", "two", "three"]
    assert read_lines(log, 2) == ["two", "three"]
    assert [f.name for f in find_logs(StatePaths(tmp_path))] == ["team1/web-1/main"]


def test_a_containers_output_fills_its_log_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "main.log"
    path.write_text("before\n")
    reading, writing = os.pipe()
    log = ContainerLog(str(path), max_bytes=20)
    for text in ("one\n", "two\n", "three\n", "four\n"):
        os.write(writing, text.encode())
        log.write(os.read(reading, 100))
    os.write(writing, b"five\n")
    os.close(writing)
    copy_output(reading, log)
    os.close(reading)
    assert (tmp_path / "main.log.1").read_text() == "before\none\ntwo\n"
    assert path.read_text() == "three\nfour\nfive\n"


def test_the_logs_of_the_latest_pods_are_kept(tmp_path: Path) -> None:
    paths = StatePaths(tmp_path)
    for number in range(4):
        folder = write_log(paths, f"web-{number}", "x").parent
        os.utime(folder, (number, number))
    forget_pods(paths.logs, lambda _, pod: pod == "web-0", keep=2)
    assert sorted(p.name for p in paths.logs.glob("*/*")) == ["web-0", "web-2", "web-3"]


# --- egress --------------------------------------------------------------------------------------------


def test_a_tunnel_is_asked_for_by_connect() -> None:
    request = parse_request(b"CONNECT api.example:8443 HTTP/1.1\r\nHost: api.example:8443\r\n\r\n")
    assert (request.tunnel, request.host, request.port) == (True, "api.example", 8443)


def test_a_plain_request_is_passed_on_in_the_form_that_servers_expect() -> None:
    head = (
        b"GET http://api.example/a?b=c HTTP/1.1\r\nHost: api.example\r\n"
        b"Proxy-Connection: keep-alive\r\nConnection: keep-alive\r\nX: y\r\n\r\n"
    )
    request = parse_request(head)
    assert (request.tunnel, request.host, request.port) == (False, "api.example", 80)
    assert request.forwarded_head == (
        b"GET /a?b=c HTTP/1.1\r\nHost: api.example\r\nX: y\r\nConnection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\n\r\n", b"nonsense\r\n\r\n", b"CONNECT host:port:x HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_request_to_a_proxy_is_refused(head: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_request(head)


def test_the_machines_own_proxy_is_used_where_it_applies() -> None:
    proxies = {"https": "http://me:s%3Acret@proxy.example:8080", "no": "internal.example"}
    outside = parse_request(b"CONNECT api.example:443 HTTP/1.1\r\n\r\n")
    proxy = find_next_proxy(outside, proxies)
    assert proxy is not None
    assert (proxy.hostname, proxy.port) == ("proxy.example", 8080)
    assert b"\r\nProxy-Authorization: Basic bWU6czpjcmV0\r\n" in authorize(outside.head, proxy)
    for host in (b"internal.example", b"host.containers.internal"):
        assert find_next_proxy(parse_request(b"CONNECT %s:1 HTTP/1.1\r\n\r\n" % host), proxies) is None
    plain = parse_request(b"GET http://api.example/ HTTP/1.1\r\n\r\n")
    assert find_next_proxy(plain, proxies) is None


def test_programs_are_told_of_the_proxy_in_both_spellings() -> None:
    values = egress_variables("10.77.0.1", ["localhost", ".svc"])
    assert values["https_proxy"] == values["HTTPS_PROXY"] == "http://10.77.0.1:3128"
    assert values["no_proxy"] == "localhost,.svc"


# --- options, folders, what people see -----------------------------------------------------------------


def test_options_survive_the_way_to_the_next_process() -> None:
    published = Published(name="web", namespace="a", service="web", port=80, host_port=8080)
    options = ClusterOptions(directory=Path("/state"), images=Path("/x.yaml"), published=(published,))
    assert ClusterOptions.decode(options.encode()) == options


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"KAGENTI_DEVCLUSTER_DIR": "/own"}, "/own"),
        ({"XDG_STATE_HOME": "/xdg", "HOME": "/home/me"}, "/xdg/kagenti-devcluster"),
        ({"HOME": "/home/me"}, "/home/me/.local/state/kagenti-devcluster"),
    ],
)
def test_the_state_folder_is_the_users(environ: dict[str, str], directory: str) -> None:
    assert default_directory(environ) == Path(directory)


def test_the_overview_shows_components_addresses_pods_and_their_troubles() -> None:
    waiting: dict[str, Any] = {
        "state": {"waiting": {"reason": "Error", "message": "ConfigMap 'x' does not exist"}}
    }
    status: dict[str, Any] = {"containerStatuses": [{"state": {"running": {}}}, waiting]}
    overview = Overview(
        phase="ready",
        platform="openshift",
        kubeconfig="/k",
        addresses={"mlflow": "127.0.0.1:8443"},
        components={"etcd": "running"},
        pods=({"metadata": {"namespace": "a", "name": "web"}, "status": status},),
        table="NAMESPACE  NAME\na          web\n",
    )
    assert render_overview(overview).splitlines() == [
        "cluster     ready (openshift)",
        "etcd        running",
        "KUBECONFIG  /k",
        "mlflow      127.0.0.1:8443",
        "",
        "NAMESPACE  NAME",
        "a          web",
        "a/web: ConfigMap 'x' does not exist",
    ]

"""Requests of pods to the outside."""

import pytest

from kagenti_devcluster.host.egress import (
    BadRequest,
    authorize,
    egress_variables,
    find_next_proxy,
    parse_request,
)


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


def test_programs_find_the_proxy_in_both_spellings() -> None:
    values = egress_variables("10.77.0.1", ["localhost", ".svc"])
    assert values["https_proxy"] == values["HTTPS_PROXY"] == "http://10.77.0.1:3128"
    assert values["no_proxy"] == "localhost,.svc"

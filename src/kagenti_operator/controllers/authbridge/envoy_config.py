"""Envoy's configuration, key `envoy.yaml` of ConfigMap `envoy-config-<workload>`: section 6.8."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from kagenti_operator.contract import EXT_PROC_PORT, LOOPBACK
from kagenti_operator.controllers.authbridge.platform_config import Proxy
from kagenti_operator.controllers.authbridge.resolve import Mtls
from kagenti_operator.controllers.authbridge.yaml_text import render

_TYPES = "type.googleapis.com/envoy.extensions"
_DIRECTION = "x-authbridge-direction"
_EXT_PROC = "envoy.filters.http.ext_proc"
_ORIGINAL = "original_destination"
# To what speaks no TLS: the agent itself, and the collector.
_PLAINTEXT = "original_destination_plaintext"
_EXT_PROC_CLUSTER = "ext_proc_cluster"
# A model may take long to answer.
_ANSWER_TIMEOUT = "300s"
_TLS_MATCH, _PLAINTEXT_MATCH = ({"transport_protocol": name} for name in ("tls", "raw_buffer"))

type Part = Mapping[str, Any]


@lru_cache(maxsize=32)
def render_envoy_config(proxy: Proxy, mtls: Mtls, collector: tuple[str, ...]) -> str:
    """The whole configuration, as YAML. `collector`: the hosts of the collector, and of the agent's MLflow.

    It is the same for all pods of a cluster, but for the mode of mTLS and their MLflow.
    """
    return render(
        {
            "admin": {"address": _address(LOOPBACK, proxy.admin_port)},
            "static_resources": {
                "listeners": [_outbound_listener(proxy, collector), _inbound_listener(proxy, mtls)],
                "clusters": _clusters(mtls),
            },
        }
    )


# --- listeners ----------------------------------------------------------------------------------------------


def _outbound_listener(proxy: Proxy, hosts: tuple[str, ...]) -> Part:
    """Calls of the agent. What is TLS already passes as it is: nothing in it could be exchanged."""
    collector = {
        "name": "collector",
        "domains": list(hosts),
        "routes": [_route(_PLAINTEXT)],
        "typed_per_filter_config": {
            _EXT_PROC: _typed("filters.http.ext_proc.v3.ExtProcPerRoute", disabled=True)
        },
    }
    others = {"name": "others", "domains": ["*"], "routes": [_route(_ORIGINAL)]}
    virtual_hosts = [collector, others] if hosts else [others]
    http = _http_filter("outbound", virtual_hosts, f'headers():remove("{_DIRECTION}")')
    tls = _filter(
        "envoy.filters.network.tcp_proxy",
        "filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix="outbound_tls",
        cluster=_PLAINTEXT,
    )
    chains = [{"filter_chain_match": _TLS_MATCH, "filters": [tls]}, {"filters": [http]}]
    return _listener("outbound", proxy.port, chains, inspects_tls=True)


def _inbound_listener(proxy: Proxy, mtls: Mtls) -> Part:
    """Calls to the agent. A caller's own header must not say that its call is one of the agent's."""
    hosts = [{"name": "agent", "domains": ["*"], "routes": [_route(_PLAINTEXT)]}]
    http = _http_filter("inbound", hosts, f'headers():replace("{_DIRECTION}", "inbound")')
    if mtls == "disabled":
        return _listener("inbound", proxy.inbound_proxy_port, [{"filters": [http]}], inspects_tls=False)
    tls = {
        "filter_chain_match": _TLS_MATCH,
        "filters": [http],
        "transport_socket": _tls_socket("Downstream", require_client_certificate=True),
    }
    plaintext = {"filter_chain_match": _PLAINTEXT_MATCH, "filters": [http]}
    chains = [tls, plaintext] if mtls == "permissive" else [tls]
    return _listener("inbound", proxy.inbound_proxy_port, chains, inspects_tls=True)


def _listener(direction: str, port: int, chains: Sequence[Part], *, inspects_tls: bool) -> Part:
    filters = [_filter("envoy.filters.listener.original_dst", "filters.listener.original_dst.v3.OriginalDst")]
    if inspects_tls:
        filters.append(
            _filter("envoy.filters.listener.tls_inspector", "filters.listener.tls_inspector.v3.TlsInspector")
        )
    return {
        "name": f"{direction}_listener",
        "address": _address("0.0.0.0", port),
        "listener_filters": filters,
        "filter_chains": [*chains],
    }


def _http_filter(direction: str, virtual_hosts: Sequence[Part], header_call: str) -> Part:
    script = f"function envoy_on_request(request)\n  request:{header_call}\nend\n"
    ext_proc = _filter(
        _EXT_PROC,
        "filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service={"envoy_grpc": {"cluster_name": _EXT_PROC_CLUSTER}, "timeout": "30s"},
        message_timeout="30s",
        allow_mode_override=True,
        processing_mode={
            "request_header_mode": "SEND",
            "response_header_mode": "SKIP",
            "request_body_mode": "NONE",
            "response_body_mode": "NONE",
            "request_trailer_mode": "SKIP",
            "response_trailer_mode": "SKIP",
        },
    )
    # Before AuthBridge is asked: what a route adds comes only after it.
    lua = _filter(
        "envoy.filters.http.lua",
        "filters.http.lua.v3.Lua",
        default_source_code={"inline_string": script},
    )
    router = _filter("envoy.filters.http.router", "filters.http.router.v3.Router")
    return _filter(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=f"{direction}_http",
        codec_type="AUTO",
        route_config={
            "name": f"{direction}_routes",
            "ignore_port_in_host_matching": True,
            "virtual_hosts": [*virtual_hosts],
        },
        http_filters=[lua, ext_proc, router],
    )


def _route(cluster: str) -> Part:
    return {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": _ANSWER_TIMEOUT}}


# --- clusters -----------------------------------------------------------------------------------------------


def _clusters(mtls: Mtls) -> list[Part]:
    tls = {"transport_socket": _tls_socket("Upstream")} if mtls == "strict" else {}
    return [{**_original_cluster(_ORIGINAL), **tls}, _original_cluster(_PLAINTEXT), _ext_proc_cluster()]


def _original_cluster(name: str) -> Part:
    """As the caller speaks HTTP/1.1 or HTTP/2, so is spoken on: gRPC needs it."""
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": "30s",
        "typed_extension_protocol_options": _protocol("use_downstream_protocol_config"),
    }


def _ext_proc_cluster() -> Part:
    endpoint = {"endpoint": {"address": _address(LOOPBACK, EXT_PROC_PORT)}}
    return {
        "name": _EXT_PROC_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": _protocol("explicit_http_config"),
        "load_assignment": {"cluster_name": _EXT_PROC_CLUSTER, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _protocol(choice: str) -> Part:
    options = _typed("upstreams.http.v3.HttpProtocolOptions", **{choice: {"http2_protocol_options": {}}})
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options}


# --- parts of both ------------------------------------------------------------------------------------------


def _tls_socket(side: str, **settings: Any) -> Part:
    certificate, key = ({"filename": f"/opt/{name}.pem"} for name in ("svid", "svid_key"))
    common = {
        "tls_certificates": [{"certificate_chain": certificate, "private_key": key}],
        "validation_context": {"trusted_ca": {"filename": "/opt/svid_bundle.pem"}},
    }
    context = _typed(f"transport_sockets.tls.v3.{side}TlsContext", **settings, common_tls_context=common)
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _filter(name: str, type_: str, **settings: Any) -> Part:
    return {"name": name, "typed_config": _typed(type_, **settings)}


def _typed(type_: str, **settings: Any) -> Part:
    return {"@type": f"{_TYPES}.{type_}", **settings}


def _address(host: str, port: int) -> Part:
    return {"socket_address": {"address": host, "port_value": port}}

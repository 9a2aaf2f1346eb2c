"""The metrics' flags and server: HTTPS for those whom the API server lets in, or plain HTTP for anybody."""

import argparse
import socket
import ssl
from pathlib import Path

from kagenti_operator import contract
from kagenti_operator.cli.errors import UsageError
from kagenti_operator.cli.flags import add_boolean, address
from kagenti_operator.kube.client import KubeClient
from kagenti_operator.runtime.telemetry.authorization import TokenAuthorizer, require_access
from kagenti_operator.runtime.telemetry.listener import Listener
from kagenti_operator.runtime.telemetry.metrics import Metrics, build_metrics_app
from kagenti_operator.runtime.telemetry.serving_certificate import (
    CertificateError,
    CertificateFiles,
    build_self_signed_context,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags, named as projects made with kubebuilder have them."""
    parser.add_argument(
        "--metrics-bind-address",
        type=address,
        default=contract.METRICS_ADDRESS,
        metavar="ADDRESS",
        help="where /metrics is served; 0 switches it off (default: %(default)s)",
    )
    add_boolean(
        parser,
        "--metrics-secure",
        default=True,
        text="serve metrics by HTTPS to those who may get the nonResourceURL /metrics (default), or by plain "
        "HTTP to anybody",
    )
    parser.add_argument(
        "--metrics-cert-path",
        type=Path,
        metavar="FOLDER",
        help="folder of the metrics' certificate and key (default: a certificate of its own making)",
    )
    parser.add_argument(
        "--metrics-cert-name", default="tls.crt", metavar="FILE", help="certificate in that folder (tls.crt)"
    )
    parser.add_argument(
        "--metrics-cert-key", default="tls.key", metavar="FILE", help="its key in that folder (tls.key)"
    )


def is_secure(args: argparse.Namespace) -> bool:
    """Whether scrapers are asked who they are."""
    return bool(args.metrics_bind_address and args.metrics_secure)


def load_certificate(args: argparse.Namespace) -> CertificateFiles | None:
    """The certificate that the flags name; None where they name none. Raises UsageError."""
    folder: Path | None = args.metrics_cert_path
    if folder is None or not args.metrics_bind_address:
        return None
    if not args.metrics_secure:
        raise UsageError(
            "--metrics-cert-path is given, but --metrics-secure=false serves plain HTTP: leave one out"
        )
    try:
        return CertificateFiles(folder / args.metrics_cert_name, folder / args.metrics_cert_key)
    except CertificateError as error:
        raise UsageError(f"--metrics-cert-path {folder}: {error}") from error


def build_listener(args: argparse.Namespace, metrics: Metrics, client: KubeClient) -> Listener:
    """The server; `client` is one whose writes are not fenced, because replicas that wait are scraped too."""
    if not is_secure(args):
        return Listener("metrics", build_metrics_app(metrics), args.metrics_bind_address)
    files = load_certificate(args)

    async def provide() -> ssl.SSLContext:
        return (
            files.context if files else await build_self_signed_context((socket.gethostname(), "localhost"))
        )

    app = build_metrics_app(metrics, (require_access(TokenAuthorizer(client)),))
    return Listener("metrics", app, args.metrics_bind_address, tls=provide)

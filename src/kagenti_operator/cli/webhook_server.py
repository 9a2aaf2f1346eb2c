"""The flags of the webhook's server."""

import argparse
from pathlib import Path

from kagenti_operator import contract
from kagenti_operator.cli.errors import UsageError
from kagenti_operator.cli.flags import address
from kagenti_operator.controllers.authbridge.certificate_files import load_files
from kagenti_operator.runtime.telemetry.serving_certificate import CertificateError


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags, named as projects made with kubebuilder have them."""
    parser.add_argument(
        "--webhook-bind-address",
        type=address,
        default=f":{contract.WEBHOOK_PORT}",
        metavar="ADDRESS",
        help="where the webhook is served by HTTPS, with --enable-authbridge (default: %(default)s)",
    )
    parser.add_argument(
        "--webhook-cert-path",
        type=Path,
        metavar="FOLDER",
        help="folder of the webhook's tls.crt and tls.key, whose CA somebody else puts into the webhook "
        "configuration (default: a certificate of the operator's own making)",
    )


def check_flags(args: argparse.Namespace) -> None:
    """Raise UsageError on what cannot be served."""
    if not args.enable_authbridge:
        return
    if args.webhook_bind_address is None:
        raise UsageError("--webhook-bind-address is 0, but --enable-authbridge serves a webhook: give a port")
    if args.webhook_cert_path is not None:
        try:
            load_files(args.webhook_cert_path)
        except CertificateError as error:
            raise UsageError(f"--webhook-cert-path {args.webhook_cert_path}: {error}") from error

"""The flags about Keycloak: what namespaces are told of it, and where clients are registered."""

import argparse
from pathlib import Path
from typing import Any

from kagenti_operator import contract
from kagenti_operator.cli.errors import UsageError
from kagenti_operator.cli.flags import add_boolean, namespace
from kagenti_operator.keycloak.address import check_address


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add them; all need --enable-authbridge."""
    add_boolean(
        parser,
        "--enable-client-registration",
        default=False,
        text="register agents as clients of Keycloak and keep Secrets with their credentials, with "
        "--enable-authbridge",
    )
    parser.add_argument(
        "--keycloak-namespace",
        type=namespace,
        default=contract.KEYCLOAK_NAMESPACE,
        metavar="NAMESPACE",
        help="where Service and Secret of Keycloak are (default: %(default)s)",
    )
    parser.add_argument(
        "--keycloak-url",
        default="",
        metavar="URL",
        help="Keycloak, as pods and the operator reach it; the administrator's password is sent there and "
        f"nowhere else (default: Service {contract.KEYCLOAK_SERVICE} of that namespace)",
    )
    parser.add_argument(
        "--keycloak-public-url",
        default="",
        metavar="URL",
        help="Keycloak, as people reach it: what their tokens name as the issuer",
    )
    parser.add_argument(
        "--keycloak-realm",
        default="",
        metavar="NAME",
        help="the realm of namespaces that name none (default: the platform's name)",
    )
    parser.add_argument(
        "--keycloak-further-realm",
        action="append",
        default=[],
        metavar="NAME",
        help="another realm in which namespaces may have clients; may be given several times",
    )
    parser.add_argument(
        "--keycloak-ca-file",
        type=Path,
        metavar="FILE",
        help="CA that signed Keycloak's certificate, beside the system's",
    )


def build_settings(args: argparse.Namespace, names: contract.Names) -> dict[str, Any]:
    """What of them becomes settings. Raises UsageError."""
    if args.enable_client_registration and not args.enable_authbridge:
        raise UsageError(
            "--enable-client-registration makes what sidecars log in with: add --enable-authbridge"
        )
    try:
        url = check_address(args.keycloak_url) if args.keycloak_url else ""
    except ValueError as error:
        raise UsageError(f"--keycloak-url {error}") from error
    realm = args.keycloak_realm or names.prefix
    if "master" in (realm, *args.keycloak_further_realm):
        raise UsageError(
            "realm master is Keycloak's own, and whoever has a client in it is near its administrators: name "
            "another one by --keycloak-realm and --keycloak-further-realm"
        )
    return {
        "enable_client_registration": args.enable_client_registration,
        "keycloak_namespace": args.keycloak_namespace or contract.KEYCLOAK_NAMESPACE,
        "keycloak_url": url,
        "keycloak_public_url": args.keycloak_public_url,
        "keycloak_realm": realm,
        "keycloak_further_realms": tuple(args.keycloak_further_realm),
        "keycloak_ca_file": args.keycloak_ca_file,
    }

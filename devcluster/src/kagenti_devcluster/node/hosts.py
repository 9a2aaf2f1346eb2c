"""Names of Services in a pod's /etc/hosts, since a cluster has no DNS server. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from kagenti_devcluster.node.objects import Service, Slice

DOMAIN = "cluster.local"

# An address and the names that lead to it.
type Entry = tuple[str, tuple[str, ...]]

_HEADLESS = "None"


def _forms(name: str, namespace: str, own: str) -> tuple[str, ...]:
    """All the names under which one finds `name.namespace`; the short one within its own namespace only."""
    full = (f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.{DOMAIN}")
    return (name, *full) if namespace == own else full


def _headless_entries(service: Service, slices: Iterable[Slice], own: str) -> list[Entry]:
    name, namespace = service.metadata.name, service.metadata.namespace
    entries: list[Entry] = []
    for endpoint in (e for s in slices for e in s.endpoints or ()):
        if not (endpoint.ready or service.spec.publish_not_ready_addresses):
            continue
        names = _forms(name, namespace, own)
        if endpoint.hostname:
            # A StatefulSet's pod; without the search path of a resolver only within its namespace.
            names = (*(f"{endpoint.hostname}.{n}" for n in names), *names)
        entries += [(address, names) for address in endpoint.addresses]
    return entries


def build_entries(
    own: str, services: Iterable[Service], slices: Mapping[tuple[str, str], Sequence[Slice]]
) -> list[Entry]:
    """Entries for a pod of namespace `own`, sorted; `slices` are by their Service's namespace and name."""
    entries: list[Entry] = []
    for service in services:
        key = (service.metadata.namespace, service.metadata.name)
        address = service.spec.cluster_ip
        if address == _HEADLESS:
            entries += _headless_entries(service, slices.get(key, ()), own)
        elif address:
            entries.append((address, _forms(key[1], key[0], own)))
    return sorted(entries)


def render_hosts(address: str, names: Sequence[str], entries: Iterable[Entry]) -> str:
    """A pod's /etc/hosts: localhost, its own address and names, and those of the Services."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines.append(f"{address}\t{' '.join(names)}")
    lines += [f"{entry_address}\t{' '.join(entry_names)}" for entry_address, entry_names in entries]
    return "\n".join(lines) + "\n"

"""Takes the link between a pod of the local cluster and its node down, or up again.

Run as `python network_cut.py POD_PROCESS NODE_PROCESS down|up`, with a process of the pod and one of the
node: whoever enters a user namespace has to be single-threaded. The node's end is what goes down, so that the
pod keeps address and routes, and what it sends is lost without an error.
"""

import os
import sys
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any, cast


def open_netlink() -> AbstractContextManager[Any]:
    """A netlink socket of the network namespace that this process is in; pyroute2 comes without types."""
    return cast("AbstractContextManager[Any]", import_module("pyroute2").IPRoute())


def main(pod: int, node: int, state: str) -> None:
    at_pod, at_node = os.pidfd_open(pod), os.pidfd_open(node)
    os.setns(at_node, os.CLONE_NEWUSER)
    os.setns(at_pod, os.CLONE_NEWNET)
    with open_netlink() as netlink:
        (link,) = netlink.get_links(ifname="eth0")
        other_end = link.get_attr("IFLA_LINK")
    os.setns(at_node, os.CLONE_NEWNET)
    with open_netlink() as netlink:
        netlink.link("set", index=other_end, state=state)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

"""Kernel calls that this kernel may not have."""

import errno

import pytest

from kagenti_devcluster.process import linux


def test_an_older_kernel_is_refused_instead_of_leaving_mounts_writable(monkeypatch: pytest.MonkeyPatch):
    # To a kernel that does not know the call, any unknown number is the same.
    monkeypatch.setattr(linux, "_SYS_MOUNT_SETATTR", 100_000)
    with pytest.raises(OSError, match=r"cannot make /usr read-only, .*Linux 5\.12 or later") as refused:
        linux.make_read_only("/usr")
    assert refused.value.errno == errno.ENOTSUP

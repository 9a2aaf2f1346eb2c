"""How much memory the collector may take before it refuses spans, from what its container may take."""

from dataclasses import dataclass

# Of the container's limit, in percent. The limiter counts the heap only: stacks and the runtime come on top.
_HARD_PERCENT = 80
# Of the hard limit: from there on spans are refused, so that what is under way does not reach it.
_SPIKE_PERCENT = 25
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class MemoryLimits:
    """Settings of `memory_limiter`, in MiB; the collector refuses new spans at the limit less the spike."""

    limit_mib: int
    spike_limit_mib: int


def fit_memory_limits(container_bytes: int) -> MemoryLimits:
    """The limits for a container that is killed beyond so many bytes."""
    # The collector takes no limit of 0, and no spike that is not below the limit.
    limit = max(container_bytes * _HARD_PERCENT // 100 // _MIB, 2)
    return MemoryLimits(limit_mib=limit, spike_limit_mib=max(limit * _SPIKE_PERCENT // 100, 1))

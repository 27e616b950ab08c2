"""Limits on what a process may use, for those that meet files from anywhere."""

from __future__ import annotations

import resource


def limit(process: int, memory: int, seconds: int) -> None:
    """Let ``process`` have so much and no more; where it may have less already, it stays so.

    Args:
        process: its number; 0 is this one.
        memory: bytes of its data, all together.
        seconds: of processor time, all together.
    """
    for kind, wanted in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.prlimit(process, kind)[1]
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.prlimit(process, kind, (allowed, hard))


def memory_used() -> int:
    """Bytes of this process's data, as limits count them."""
    with open("/proc/self/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmData")), 0)

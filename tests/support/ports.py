"""Finds TCP ports that are free, and that stay free while what used them is being restarted."""

from __future__ import annotations

import random
import socket

LOWEST, HIGHEST = 15_000, 32_000
"""Below the range from which outgoing connections take their port, or one of them may sit on it at a restart."""

TRIES_MAX = 200


def free_port() -> int:
    """A loopback port nobody listens on now and that this process has not been given before."""
    for _ in range(TRIES_MAX):
        port = random.randint(LOWEST, HIGHEST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise AssertionError(f"no free port in {LOWEST}-{HIGHEST} after {TRIES_MAX} tries")


_given: set[int] = set()

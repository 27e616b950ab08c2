"""The way on to FINN and FINN+: files that they go on from, and a check that FINN+ does.

from hls_backend.finn import emit
"""

from hls_backend.finn.folder import emit

__all__ = ["emit"]

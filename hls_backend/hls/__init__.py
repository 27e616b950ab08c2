"""The way on to Vitis HLS: a C++ top on finn-hlslib's templates, and its simulation with any C++ compiler.

from hls_backend.hls import emit, simulate

library/     finn-hlslib's templates, as far as layers call them, written anew
extra/       templates that finn-hlslib lacks; used beside either library
support/     what the top and its test bench include
simulation/  what stands in for Vitis HLS's own headers where a plain compiler is used
"""

from hls_backend.hls.folder import emit
from hls_backend.hls.simulate import Program, Simulated, compiled, simulate

__all__ = ["Program", "Simulated", "compiled", "emit", "simulate"]

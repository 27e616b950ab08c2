"""Graph passes: ONNX in, ONNX out, one a file.

from passes import RemoveSkips
result = RemoveSkips(stage=2).apply(model)
"""

from passes.base import Pass, PassResult, get, register, registry
from passes.batchnorm import FoldBatchNorm
from passes.constants import FoldConstants
from passes.errors import ModelError, PassError, UserError
from passes.fold import FoldSkips
from passes.gate import GateSkips
from passes.half import HalfWeights
from passes.inline import InlineFunctions
from passes.integers import IntegerWeights
from passes.merge import MergeSkips
from passes.morph import MorphSkips
from passes.prune import PruneChannels
from passes.quantize import Quantize
from passes.remove import RemoveSkips
from passes.shorten import ShortenSkips
from passes.skips import Skip, find_skips, gates

__all__ = [
    "FoldBatchNorm",
    "FoldConstants",
    "FoldSkips",
    "GateSkips",
    "HalfWeights",
    "InlineFunctions",
    "IntegerWeights",
    "MergeSkips",
    "ModelError",
    "MorphSkips",
    "Pass",
    "PassError",
    "PassResult",
    "PruneChannels",
    "Quantize",
    "RemoveSkips",
    "ShortenSkips",
    "Skip",
    "UserError",
    "find_skips",
    "gates",
    "get",
    "register",
    "registry",
]

"""What may be computed in a pass: never much more than the model itself holds, and nothing that takes long.

A graph of a few bytes can ask for a constant of any size, and the reference evaluator computes most operators in
Python, element by element, or through matrices far larger than what comes out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

# Operators whose reference takes time and memory in proportion to what they read and make, or that BLAS computes.
_QUICK = frozenset(
    "Abs Add And Cast CastLike Ceil Clip Concat ConstantOfShape Cos DequantizeLinear Div Equal Erf Exp Expand Floor "
    "Gather Greater GreaterOrEqual Identity Less LessOrEqual Log Max Min Mul Neg Not Or Pad Pow QuantizeLinear Range "
    "Reciprocal ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Relu Reshape Round Shape Sigmoid Sign Sin "
    "Size Slice Split Sqrt Squeeze Sub Sum Tanh Tile Transpose Unsqueeze Where Constant".split()
)
_PRODUCTS = frozenset({"MatMul", "Gemm"})

# Operators whose output may be of any size whatever their inputs' sizes are.
_EXPANDING = frozenset("ConstantOfShape Expand Pad Range Resize Tile Upsample OneHot Loop Scan".split())

_MOST_OF_OTHERS = 2**16
_MOST_WORK_OF_OTHERS = 2**24
_MOST_MULTIPLICATIONS = 2**35
_SMALL = 1024


def room(stored: int) -> int:
    """The elements that a constant may have in a model that stores ``stored`` of them."""
    return max(2**24, 4 * stored)


def reason_against(op: str, read: Sequence[int | None], made: Sequence[int | None], most: int) -> str | None:
    """Why a node had better not be computed here, as half a sentence.

    Args:
        op: a standard operator.
        read: the elements of each input, None where unknown.
        made: the elements of each output, None where unknown.
        most: the elements that one output may have.
    """
    reading = max((size or 0 for size in read), default=0)
    if None in made and (op in _EXPANDING or reading > _MOST_OF_OTHERS):
        return "the size of what it makes is unknown before it runs"
    making = max((size or 0 for size in made), default=0)
    if making > most:
        return f"what it makes is too large to store ({making:,} elements)"
    if op in _PRODUCTS:
        known = [size or 0 for size in read[:2]]
        is_slow = math.isqrt(math.prod(known) * making) > _MOST_MULTIPLICATIONS
    else:
        is_slow = op not in _QUICK and (
            max(reading, making) > _MOST_OF_OTHERS or reading * making > _MOST_WORK_OF_OTHERS
        )
    return "it would take too long here" if is_slow else None


def sizes_made(node: onnx.NodeProto, values: Mapping[str, Any], opset: int) -> list[int | None]:
    """The elements of each output of a standard ``node`` that reads ``values``, None where onnx cannot tell."""
    given = {name: np.asarray(values[name]) for name in node.input if name}
    try:
        types = {
            name: helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in given.items()
        }
        data = {name: numpy_helper.from_array(value) for name, value in given.items() if value.size <= _SMALL}
        inferred = onnx.shape_inference.infer_node_outputs(
            onnx.defs.get_schema(node.op_type, opset, ""),
            node,
            types,
            data,
            opset_imports=[helper.make_opsetid("", opset)],
        )
    except Exception:  # an operator or a type that onnx knows nothing of
        inferred = {}
    return [_elements(inferred.get(name)) for name in node.output if name]


def _elements(kind: onnx.TypeProto | None) -> int | None:
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return math.prod(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None

"""The teacher of a distillation: any ONNX model of the same images, run as a plain inference session."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from graphops.data import DataSet
from graphops.data.feed import Feed, knows_normalisation
from graphops.data.normalisation import Normalisation
from graphops.inference import run, session
from graphops.training.loss import TEACHER
from graphops.training.readable import inference_copy
from passes.errors import UserError


class Teacher:
    """Calling it with images [N, C, H, W] of the data set gives the loss graph's teacher inputs by name.

    Args:
        model: the teacher; its input's layout is its own, and so is its normalisation where it knows one.
        dataset: where the images come from.
        normalisation: for a teacher that knows none.
        wanted: the student's tensors to be followed.
        logits: the student's tensor with the logits; the teacher's own logits answer for it. Any other tensor of
            ``wanted`` is answered by the teacher's tensor of the same name.
        threads: cores to use.
        output: the output that holds the logits, where the teacher has several.

    Raises:
        UserError: when the images do not fit the teacher, it lacks a tensor, or onnxruntime cannot load it.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        dataset: DataSet,
        normalisation: Normalisation,
        wanted: Sequence[str],
        logits: str,
        threads: int,
        output: str | None = None,
    ) -> None:
        import onnxruntime

        self._feed = Feed(model, dataset, None if knows_normalisation(model) else normalisation)
        copy, own_logits = inference_copy(model, output)
        made = {o for n in copy.graph.node for o in n.output}
        for tensor in wanted:
            if tensor != logits and tensor not in made:
                raise UserError(
                    f"The teacher has no tensor {tensor!r}; `features` names tensors that student and teacher share."
                )
        self._tensors = [own_logits if tensor == logits else tensor for tensor in wanted]
        self._names = [TEACHER + tensor for tensor in wanted]
        self._logits = TEACHER + logits
        del copy.graph.output[:]
        # Of any type: a teacher may compute in float16.
        copy.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, dict.fromkeys(self._tensors)))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it runs beside a training step
        self._session = session(copy, options, "the teacher")

    def __call__(self, images: NDArray) -> dict[str, NDArray[np.float32]]:
        values = run(self._session, self._tensors, self._feed.input_name, self._feed(images), "the teacher")
        named = {name: v.astype(np.float32, copy=False) for name, v in zip(self._names, values, strict=True)}
        return {n: v.reshape(len(v), -1) if n == self._logits else v for n, v in named.items()}

"""FINN's build steps under FINN's versions of onnx, numpy and protobuf.

FINN itself is in no package index. What is called here is what its `resolve_build_steps` and `build_dataflow_cfg`
call: a function by its `__name__`, with a ModelWrapper and a configuration.
"""

from __future__ import annotations

import with_passes
from network import joins, residual
from qonnx.core.modelwrapper import ModelWrapper

from passes import RemoveSkips
from passes.adapters.finn import as_step, step_remove_skips


def main() -> None:
    with_passes.check()
    model = residual(bits=4)
    for steps, rest in (
        ([step_remove_skips], RemoveSkips()),
        ([as_step(RemoveSkips(stage=1), "stage_1"), as_step(RemoveSkips(stage=2), "stage_2")], RemoveSkips(stage=2)),
    ):
        assert len({step.__name__ for step in steps}) == len(steps)
        wrapper = ModelWrapper(model)
        for step in steps:
            wrapper = step(wrapper, None)
            assert type(wrapper) is ModelWrapper
        with_passes.same(wrapper.model, model, rest, in_runtime=False)
        names = ", ".join(step.__name__ for step in steps)
        print(f"{names}: {joins(model)} joins before, {joins(wrapper.model)} after, outputs as of the pass alone")


if __name__ == "__main__":
    main()

"""hls4ml's ONNX converter reads what the passes write, quantised or not; its C++ computes what the graph does."""

from __future__ import annotations

import contextlib
import io
import tempfile

import hls4ml
import numpy as np
import with_passes
from network import image, joins, residual, run
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.channels_last import ConvertToChannelsLastAndClean
from qonnx.util.cleanup import cleanup_model

from passes import RemoveSkips
from passes.adapters.qonnx import AsQonnx

FORK_AND_JOIN = ("Clone", "Merge")  # what hls4ml makes of a skip


def main() -> None:
    with_passes.check()
    for bits in (0, 4):
        model = residual(bits, blocks=((4, 1),), head=False)
        network = convert(model, f"before_{bits}")
        assert skips(network) == 2, skips(network)

        removed = ModelWrapper(model).transform(AsQonnx(RemoveSkips()))
        network = convert(removed.model, f"after_{bits}")
        assert skips(network) == 0, skips(network)
        network.compile()
        difference = np.abs(network.predict(image()).reshape(-1) - run(removed.model, image()).reshape(-1)).max()
        # ap_fixed<32, 16> rounds to 2^-16; with quantisers every value is on a grid that it holds
        assert difference <= (0 if bits else 1e-2), difference
        print(
            f"hls4ml, {bits or 'no'} bits: {joins(model)} join before, {joins(removed.model)} after, no Clone and no "
            f"Merge; largest difference of its C++ {difference:.1e}"
        )


def convert(model, name: str):
    model = cleanup_model(ModelWrapper(model)).transform(ConvertToChannelsLastAndClean())
    model = cleanup_model(model)
    settings = {"granularity": "name", "backend": "Vitis", "default_precision": "ap_fixed<32,16>"}
    with contextlib.redirect_stdout(io.StringIO()):
        config = hls4ml.utils.config.config_from_onnx_model(model, **settings)
        return hls4ml.converters.convert_from_onnx_model(
            model, output_dir=f"{FOLDER}/{name}", io_type="io_stream", backend="Vitis", hls_config=config
        )


def skips(network) -> int:
    return sum(any(kind in type(layer).__name__ for kind in FORK_AND_JOIN) for layer in network.get_layers())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as FOLDER:
        main()

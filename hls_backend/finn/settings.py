"""The files beside the graph: how FINN is to fold, specialise and connect it, and the steps of its build."""

from __future__ import annotations

from typing import Any

from hls_backend.dataflow import Dataflow, Flavour
from hls_backend.design import Design
from hls_backend.finn.fifos import attributes, inserted
from hls_backend.finn.graph import node_names

_FOLDED = ("PE", "SIMD")
"""Attributes that folding sets."""

_STEPS: dict[Flavour, list[str]] = {
    "finn-plus": [
        "step_tidy_up",
        "step_create_dataflow_partition",
        "step_specialize_layers",
        "step_apply_folding_config",
        "step_generate_estimate_reports",
        "step_generate_hardware",
        "step_create_stitched_ip",
        "step_measure_rtlsim_performance",
        "step_out_of_context_synthesis",
    ],
    "finn-main": [
        "step_tidy_up",
        "step_create_dataflow_partition",
        "step_specialize_layers",
        "step_apply_folding_config",
        "step_generate_estimate_reports",
        "step_hw_codegen",
        "step_hw_ipgen",
        "step_set_fifo_depths",
        "step_create_stitched_ip",
        "step_measure_rtlsim_performance",
        "step_out_of_context_synthesis",
    ],
}
"""What is left to do of FINN's own steps: the graph is converted, streamlined and mapped already, and its types are the
least; FINN's minimisation of types would make weights of -1 and 1 two bits wide."""

_SHIFT_REGISTER = 256
"""FINN main builds deeper FIFOs of Vivado's."""


def specialize(dataflow: Dataflow, flavour: Flavour, device: str) -> dict[str, Any]:
    """``specialize.json``: HLS or RTL, by the node's name before it is specialised."""
    names = node_names(dataflow, flavour)
    styles = {names[n.name]: {"preferred_impl_style": n.finn_style(device)} for n in dataflow.layers}
    return {"Defaults": {}, **styles}


def folding(dataflow: Dataflow, flavour: Flavour, device: str) -> dict[str, Any]:
    """``folding.json``: parallelism and FIFO depths, by the node's name after it is specialised."""
    names = node_names(dataflow, flavour, device)
    fifos = attributes(dataflow)
    nodes: dict[str, dict[str, Any]] = {}
    for layer in dataflow.layers:
        values = {k: v for k, v in layer.finn_attributes(flavour).items() if k in _FOLDED}
        values["inFIFODepths"] = fifos.inputs[layer.name]
        values["outFIFODepths"] = fifos.outputs[layer.name]
        nodes[names[layer.name]] = values
    if flavour == "finn-main":  # which takes the depths of the FIFOs themselves from here as well
        for name, depth in _fifos(dataflow).items():
            style = "vivado" if depth > _SHIFT_REGISTER else "rtl"
            nodes[name] = {"depth": depth, "impl_style": style, "ram_style": "auto"}
    return {"Defaults": {}, **nodes}


def fifos(dataflow: Dataflow) -> dict[str, Any]:
    """``fifo.json``: the depth of each FIFO that FINN+ puts in, by its name."""
    found = _fifos(dataflow)
    return {
        "fifo_depths": found,
        "impl_style": dict.fromkeys(found, "rtl"),
        "ram_style": dict.fromkeys(found, "auto"),
    }


def _fifos(dataflow: Dataflow) -> dict[str, int]:
    return {f"StreamingFIFO_rtl_{i}": depth for i, depth in enumerate(inserted(dataflow))}


def build(design: Design) -> dict[str, Any]:
    """The configuration of FINN's ``build_dataflow``; paths are relative to the folder it is run in."""
    settings: dict[str, Any] = {
        "output_dir": "output",
        "synth_clk_period_ns": round(1000 / design.clock_mhz, 4),
        "fpga_part": design.part.device,
        "specialize_layers_config_file": "specialize.json",
        "folding_config_file": "folding.json",
        "auto_fifo_depths": False,
        "minimize_bit_width": False,
        "standalone_thresholds": True,
        "verify_steps": ["initial_python", "stitched_ip_rtlsim"],
        "verify_input_npy": "input.npy",
        "verify_expected_output_npy": "output.npy",
        "generate_outputs": ["estimate_reports", "stitched_ip", "rtlsim_performance", "out_of_context_synth"],
        "steps": _STEPS[design.flavour],
    }
    if design.flavour == "finn-plus":
        settings["fifo_config_file"] = "fifo.json"
    else:
        settings["split_large_fifos"] = True
    return settings

"""The same passes inside other ONNX tools, one tool a file. Each imports its tool, so import only the one you use.

| tool | what to write |
| --- | --- |
| qonnx | `model = model.transform(AsQonnx(RemoveSkips(stage=1)))`, from `passes.adapters.qonnx` |
| onnx_ir, onnxscript | `PassManager([AsIrPass(RemoveSkips()), ...])(model)`, from `passes.adapters.onnx_ir` |
| Olive | `{"surgeon": "RemoveSkips", "stage": 1}` after `import passes.adapters.olive` |
| FINN | `steps=[as_step(RemoveSkips(stage=1)), *steps]`, from `passes.adapters.finn` |
| FINN+ | the step `passes.adapters.finn.step_remove_skips`, or a function that `as_step` made |
| onnx-graphsurgeon | `graph.remove_skips(stage=1)` after `import passes.adapters.graphsurgeon` |

hls4ml needs none: its converter reads what the passes write. Whatever is in `passes.registry`, also what another
package brought, is there in each of them. Notes are logged by the logger `passes`, as warnings.

What the passes keep for each other (the numbers of the skips) stands in the model's `metadata_props` under
`graphops.skips`; Netron shows it with the model's properties. qonnx, onnx_ir, Olive and FINN keep it.
"""

"""Takes the skip connections out of trained ONNX networks."""

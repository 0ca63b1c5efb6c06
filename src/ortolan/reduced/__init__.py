"""The reduced runtime: an ONNX Runtime that holds just what the models of a target need."""

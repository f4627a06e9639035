"""Training a small DeepFaceLab-like face model; needs the optional extra `training` (PyTorch, onnx)."""

"""Model families, their export to ONNX, and the scorer that runs it."""

"""Networks of other projects as graphs, run as they are: ONNX files, and OpenVINO's `.xml` with its `.bin`."""

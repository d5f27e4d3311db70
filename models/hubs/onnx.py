"""Networks in ONNX files: `onnx:file.onnx`, converted by onnx2torch so that they have gradients."""

import base64
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx2torch
import torch
from onnx import numpy_helper
from torch import nn

__all__ = ["describe", "network"]

_LARGE = 64
"""Floats of an initialiser from which on it is taken for weights, and left out of the facts."""


def describe(name: str, parameters: Mapping[str, Any], *, normalised: bool) -> dict[str, Any]:
    """Return the graph without its weights, and the shapes of its input and output."""
    if parameters:
        raise ValueError(f"takes the parameters mean and std only, not {', '.join(sorted(parameters))}")
    model = _read(name)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ValueError(f"must have one input and one output, has {len(inputs)} and {len(graph.output)}")
    image, logits = _shape(inputs[0]), _shape(graph.output[0])
    if len(image) != 4 or len(logits) != 2:
        raise ValueError(f"must map images (N, C, H, W) to logits (N, K), but has the shapes {image} and {logits}")
    if logits[1] is None:
        raise ValueError("must say its number of classes in the shape of its output")
    facts = {"graph": _without_weights(model), "classes": logits[1], "channels": image[1] or 3}
    return facts if None in image[2:] else facts | {"size": image[2:]}


def network(
    name: str, facts: Mapping[str, Any], parameters: Mapping[str, Any], *, classes: int, published: bool
) -> Any:
    """Convert the graph; without published weights, its weights are zeros until others are loaded."""
    if classes != facts["classes"]:
        raise ValueError(f"has {facts['classes']} classes, not {classes}; give class_map")
    network = _converted(_with_zeros(facts["graph"]))
    if not published:
        return network
    original = _converted(_read(name))
    network.load_state_dict(original.state_dict())
    height, width = facts.get("size", (224, 224))
    image = torch.linspace(0, 1, 3 * height * width).view(1, 3, height, width)[:, : facts["channels"]]
    with torch.no_grad():
        if not torch.equal(network(image), original(image)):
            raise ValueError("has weights that onnx2torch makes constants; they cannot be stored")
    return network


def _read(name: str) -> Any:
    file = Path(name).expanduser()
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    model = onnx.load(str(file))
    onnx.checker.check_model(model)
    return model


def _shape(value: Any) -> list[int | None]:
    """Return the shape of a graph's input or output; None for a free side."""
    return [side.dim_value or None for side in value.type.tensor_type.shape.dim]


def _is_large(tensor: Any) -> bool:
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    return tensor.data_type in floats and int(np.prod(tensor.dims, dtype=np.int64)) >= _LARGE


def _without_weights(model: Any) -> str:
    """Return a graph without its large initialisers' values, compressed and as text."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for tensor in bare.graph.initializer:
        if _is_large(tensor):
            for field in ("raw_data", "float_data", "double_data", "int32_data"):
                tensor.ClearField(field)
    for message in (bare, bare.graph, *bare.graph.node):
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
    return base64.b64encode(zlib.compress(bare.SerializeToString(deterministic=True), 9)).decode("ascii")


def _with_zeros(graph: str) -> Any:
    """Return the graph that :func:`_without_weights` wrote, with zeros for weights."""
    model = onnx.ModelProto.FromString(zlib.decompress(base64.b64decode(graph)))
    for tensor in model.graph.initializer:
        if _is_large(tensor):
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(tuple(tensor.dims), kind), tensor.name))
    return model


def _converted(model: Any) -> nn.Module:
    """Convert a graph by onnx2torch, and let it take any number of images where its input says one."""
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) and dims[0].dim_value == 1:
            dims[0].dim_param = "N"
    try:
        network: nn.Module = onnx2torch.convert(model)
    except NotImplementedError as error:
        name, version = (re.search(rf"{field}='?(\w+)", str(error)) for field in ("operation_type", "version"))
        operator = f"the operator {name[1]} of opset {version[1]}" if name and version else str(error)
        raise ValueError(f"onnx2torch cannot convert {operator}; export the model with opset_version=13") from error
    return network.eval()

"""Networks in ONNX files: their outputs and gradients, and storing them without the file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from eadbench import models

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx2torch")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def network() -> nn.Sequential:
    torch.manual_seed(0)
    body = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 10)]
    body[1].running_mean.fill_(0.3)  # type: ignore[operator, union-attr]
    return nn.Sequential(*body).eval()


def write(file: Path, batch: int | str = "N", last: str = "Gemm", outputs: tuple[str, ...] = ("logits",)) -> nn.Module:
    """Write the network as an ONNX file, as exporters do; return it."""
    model = network()
    tensors = [numpy_helper.from_array(t.numpy(), name) for name, t in model.state_dict().items() if t.ndim]
    batch_norm = ["1.weight", "1.bias", "1.running_mean", "1.running_var"]
    nodes = [
        helper.make_node("Conv", ["images", "0.weight", "0.bias"], ["a"]),
        helper.make_node("BatchNormalization", ["a", *batch_norm], ["b"], epsilon=model[1].eps),  # type: ignore[index]
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "4.weight", "4.bias"], ["e"], transB=1),
        helper.make_node(last, ["e"], ["logits"])
        if last != "Gemm"
        else helper.make_node("Identity", ["e"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 1, 8, 8])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 10]) for name in outputs],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), file)
    return model


def recipe(arch: str, **changes: Any) -> models.Recipe:
    fields: dict[str, Any] = {"parameters": {}, "num_classes": 10, **changes}
    hub = models.pin(arch, fields["parameters"], trained=False)
    return models.Recipe(arch=arch, trained_on="x", defense={"name": "none"}, training=None, hub=hub, **fields)


@pytest.mark.parametrize("batch", ["N", 1])
def test_outputs_gradients_and_storing(batch: int | str, tmp_path: Path) -> None:
    expected = write(tmp_path / "net.onnx", batch)
    made = recipe(f"onnx:{tmp_path / 'net.onnx'}", parameters={"mean": 0.5, "std": 0.25})
    model = models.build_network(made).eval()
    images = torch.rand(3, 1, 8, 8).requires_grad_()
    normalised = (images - 0.5) / 0.25
    torch.testing.assert_close(model(images), expected(normalised))
    labels = torch.tensor([1, 2, 3])
    gradients = [
        torch.autograd.grad(functional.cross_entropy(logits, labels), images)[0]
        for logits in (model(images), expected(normalised))
    ]
    torch.testing.assert_close(*gradients)
    models.save(tmp_path / "stored", made, model, {})
    (tmp_path / "net.onnx").unlink()
    assert torch.equal(models.load(tmp_path / "stored")[0](images), model(images))


def test_the_digest_names_graph_and_weights(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    digests = set()
    for last in ("Gemm", "Relu"):
        write(file, last=last)
        digests.add(recipe(f"onnx:{file}").digest)
    changed = onnx.load(file)
    values = numpy_helper.to_array(changed.graph.initializer[-2]) + np.float32(1)
    changed.graph.initializer[-2].CopyFrom(numpy_helper.from_array(values, changed.graph.initializer[-2].name))
    onnx.save(changed, file)
    digests.add(recipe(f"onnx:{file}").digest)
    assert len(digests) == 3


def test_weights_are_not_in_the_facts(tmp_path: Path) -> None:
    write(tmp_path / "net.onnx")
    facts = models.pin(f"onnx:{tmp_path / 'net.onnx'}", {}, trained=False)
    assert facts is not None
    assert (facts["classes"], facts["size"], len(facts["graph"]) < 1500) == (10, [8, 8], True)


@pytest.mark.parametrize(
    ("last", "changes", "message"),
    [
        ("Gemm", {"num_classes": 3}, "has weights for 10 classes, not 3; give class_map"),
        ("Gemm", {"parameters": {"depth": 3}}, "takes the parameters mean and std only, not depth"),
        ("Det", {}, "architecture 'onnx:"),
        ("Hardmax", {}, r"onnx2torch cannot convert the operator Hardmax of opset \d+; export the model with opset_v"),
    ],
)
def test_refused_in_one_line(last: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / "net.onnx", last=last)
    with pytest.raises(ValueError, match=message) as error:
        models.build_network(recipe(f"onnx:{tmp_path / 'net.onnx'}", **changes))
    assert "\n" not in str(error.value)


def test_no_file_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no file .*absent\.onnx"):
        models.pin(f"onnx:{tmp_path / 'absent.onnx'}", {}, trained=False)
    (tmp_path / "damaged.onnx").write_bytes(b"\x08\x01nothing")
    with pytest.raises(ValueError, match="architecture 'onnx:") as error:
        models.pin(f"onnx:{tmp_path / 'damaged.onnx'}", {}, trained=False)
    assert "\n" not in str(error.value)

"""What must not be opened is refused in words, before a runtime sees it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.onnx_file import check_onnx

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from tests import rvc_models  # noqa: E402


def save(path: Path, nodes: list, constants: list, inputs: list | None = None) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x] if inputs is None else inputs, [y], constants)
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def test_a_good_model_passes_and_is_counted(tmp_path: Path) -> None:
    found = check_onnx(rvc_models.synthesizer(tmp_path / "voice.onnx"), "the RVC voice")
    assert found.opset == 17
    assert found.nodes > 10
    assert found.tensors > 5


def test_numbers_in_other_files_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.zeros(4, np.float32).tobytes())
    weight = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    onnx.external_data_helper.set_external_data(weight, location="../secret.bin")
    weight.ClearField("raw_data")
    add = helper.make_node("Add", ["x", "w"], ["y"])
    with pytest.raises(ModelError, match=r"another file.*as one file"):
        check_onnx(save(tmp_path / "evil.onnx", [add], [weight]), "the RVC voice")
    # and inside of the attribute of a node in a branch
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=weight)], "b", [], [add_info("c")])
    branch = helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    with pytest.raises(ModelError, match="another file"):
        check_onnx(save(tmp_path / "evil.onnx", [branch], []), "the RVC voice")


def add_info(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])


@pytest.mark.parametrize("operation", ["ConstantOfShape", "Expand", "Tile"])
def test_a_tensor_of_terabytes_is_refused(tmp_path: Path, operation: str) -> None:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "s")
    inputs = ["s"] if operation == "ConstantOfShape" else ["x", "s"]
    path = save(tmp_path / "big.onnx", [helper.make_node(operation, inputs, ["y"])], [shape])
    with pytest.raises(ModelError, match="1048576 x 1048576"):
        check_onnx(path, "the RVC voice")


def test_a_stated_size_that_the_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"1234")
    with pytest.raises(ModelError, match="'w' asks for"):
        check_onnx(save(tmp_path / "big.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [weight]), "it")
    weight.dims[0] = 77
    with pytest.raises(ModelError, match="not a whole ONNX model"):
        check_onnx(save(tmp_path / "big.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [weight]), "it")


def test_foreign_operations_are_refused(tmp_path: Path) -> None:
    node = helper.make_node("Shell", ["x"], ["y"], domain="my.ops")
    with pytest.raises(ModelError, match=r"'Shell' of 'my.ops'"):
        check_onnx(save(tmp_path / "ops.onnx", [node], []), "the RVC voice")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04 a zip, as .pth files are" * 9, "exported to ONNX"),
        (b"\x08\x08", "no model header"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "voice.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words):
        check_onnx(path, "the RVC voice")
    with pytest.raises(ModelError, match="cannot be read"):
        check_onnx(tmp_path / "absent.onnx", "the RVC voice")
    with pytest.raises(ModelError):
        check_onnx(tmp_path, "the RVC voice")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 0.999), flip=st.integers(0, 255), at=st.floats(0, 0.999))
def test_damage_never_crashes(tmp_path: Path, cut: float, flip: int, at: float) -> None:
    path = tmp_path / "whole.onnx"
    raw = bytearray((path if path.exists() else rvc_models.content(path)).read_bytes())
    (tmp_path / "cut.onnx").write_bytes(raw[: int(cut * len(raw))])
    with pytest.raises(ModelError):
        check_onnx(tmp_path / "cut.onnx", "it")
    raw[int(at * len(raw))] ^= flip
    (tmp_path / "flipped.onnx").write_bytes(raw)
    with contextlib.suppress(ModelError):
        check_onnx(tmp_path / "flipped.onnx", "it")

"""`.dfm` files: every dialect is bound rightly, and whatever is none is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from obs_twin.face.dfm.model import open_dfm
from obs_twin.face.dfm.session import NetworkSession
from obs_twin.face.photo import FaceModelError
from tests.dfm_models import Dialect, expected, masks, save, write

ODD = ("input_1", "alpha", "Identity", "Identity_1", "Identity_2")
TENSORFLOW = ("model/in_face:0", "morph_value:0", "x/out_face_mask:0", "x/out_celeb_face:0", "x/out_celeb_face_mask:0")

DIALECTS = {
    "deepfacelab": Dialect(),
    "amp": Dialect(morph=1),
    "morph as a single number": Dialect(morph=0),
    "channels first": Dialect(channels_first=True),
    "half precision inside": Dialect(half="weights"),
    "half precision": Dialect(half="all", morph=1),
    "quantised": Dialect(quantised=True),
    "other names": Dialect(names=ODD, morph=1),
    "scoped names": Dialect(names=TENSORFLOW),
    "another order, known names": Dialect(outputs=("face", "target", "actor")),
    "without the actor's mask": Dialect(outputs=("face", "target")),
    "without the actor's mask, other names": Dialect(outputs=("face", "target"), names=ODD),
    "without the target's mask": Dialect(outputs=("actor", "face")),
    "without masks": Dialect(outputs=("face",)),
    "free sizes": Dialect(side=224, free=True),
    "free sizes, channels first, other names": Dialect(side=128, free=True, channels_first=True, names=ODD),
    "an odd size": Dialect(side=72),
    "a large size": Dialect(side=512),
}


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
def test_every_dialect_is_bound_and_gives_what_it_should(dialect: Dialect, tmp_path: Path) -> None:
    model = open_dfm(write(tmp_path / "model.dfm", dialect))
    assert model.layout.side_px == dialect.side
    assert (model.layout.morph is None) == (dialect.morph is None)
    face = np.random.default_rng(0).random((dialect.side, dialect.side, 3)).astype(np.float32)
    drawn, target, actor = model.run(face, 0.25)
    atol = 0.003 if dialect.half or dialect.quantised else 1e-6
    np.testing.assert_allclose(drawn, expected(face, dialect, 0.25), atol=atol)
    true_actor, true_target = masks(dialect)
    for found, true, name in ((actor, true_actor, "actor"), (target, true_target, "target")):
        if name in dialect.outputs:
            assert found is not None
            np.testing.assert_allclose(found, true, atol=1e-3)
        else:
            assert found is None
    assert "CPU" in model.provider
    assert "not run" not in model.provider


def test_it_says_what_was_found(tmp_path: Path) -> None:
    plain = open_dfm(write(tmp_path / "plain.dfm")).layout.describe()
    assert "64 x 64" in plain
    assert "'in_face:0'" in plain
    assert "masks of both" in plain
    assert "names" not in plain
    strange = open_dfm(write(tmp_path / "strange.dfm", names=ODD, morph=1, outputs=("face", "target"), half="all"))
    words = strange.layout.describe()
    for part in (
        "AMP",
        "half precision",
        "a mask of the target's face only",
        "told apart by shape",
        "one mask instead",
    ):
        assert part in words


def value(name: str, shape: list[Any] | None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(path: Path, inputs: list[Any], outputs: list[Any], nodes: list[Any] | None = None) -> Path:
    nodes = nodes or [helper.make_node("Identity", [inputs[0].name], [outputs[0].name])]
    return save(path, nodes, inputs, outputs)


def refusal(path: Path) -> str:
    with pytest.raises(FaceModelError) as caught:
        open_dfm(path)
    return str(caught.value)


def test_networks_that_are_no_face_models_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "model.dfm"
    three = [1, 64, 64, 3]
    assert "its inputs are 'x' 1 x 100" in refusal(graph(path, [value("x", [1, 100])], [value("y", [1, 100])]))
    both = [value("a", three), value("b", three)]
    assert "'a' 1 x 64 x 64 x 3, 'b'" in refusal(graph(path, both, [value("y", three)]))
    tall = [1, 64, 48, 3]
    assert "48 x 64 pixels; a square" in refusal(graph(path, [value("x", tall)], [value("y", tall)]))
    grey = [1, 64, 64, 1]
    assert "no axis for the three colours" in refusal(graph(path, [value("x", grey)], [value("y", grey)]))
    huge = [1, 4096, 4096, 3]
    assert "16 to 1024 were expected" in refusal(graph(path, [value("x", huge)], [value("y", huge)]))
    pair = [2, 64, 64, 3]
    assert "takes 2 pictures at once" in refusal(graph(path, [value("x", pair)], [value("y", pair)]))
    whole = value("x", three, TensorProto.INT64)
    assert "tensor(int64)" in refusal(graph(path, [whole], [value("y", three, TensorProto.INT64)]))
    mean = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2], keepdims=1)]
    words = refusal(graph(path, [value("x", three)], [value("y", [1, 1, 1, 3])], mean))
    assert "gives no picture of 64 x 64 pixels: it gives 'y' 1 x 1 x 1 x 3" in words
    assert "Export it again" in words
    shape = numpy_helper.from_array(np.array([1, 7, 7, 3], np.int64), "shape")
    reshape = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    broken = save(path, reshape, [value("x", ["N", 64, 64, 3])], [value("y", None)], [shape])
    assert "does not run" in refusal(broken)


def test_files_that_are_broken_or_dangerous_are_refused_in_words(tmp_path: Path) -> None:
    path = write(tmp_path / "model.dfm")
    whole = path.read_bytes()
    for length in (1, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:length])
        assert "truncated" in refusal(path)
    path.write_bytes(b"")
    assert "empty" in refusal(path)
    path.write_text("no model at all, but a long enough text to be one")
    assert "model.dfm" in refusal(path)
    assert "no such file" in refusal(tmp_path / "nowhere.dfm").lower()

    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(3 * 4))
    tensor = TensorProto(name="gain", data_type=TensorProto.FLOAT, dims=[1, 1, 1, 3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(secret))
    nodes = [helper.make_node("Mul", ["x", "gain"], ["y"])]
    three = [1, 64, 64, 3]
    save(path, nodes, [value("x", three)], [value("y", three)], [tensor])
    assert "another file" in refusal(path)

    foreign = [helper.make_node("Steal", ["x"], ["y"], domain="evil.corp")]
    assert "foreign code" in refusal(graph(path, [value("x", three)], [value("y", three)], foreign))


def test_a_model_that_gives_no_numbers_is_said_to(tmp_path: Path) -> None:
    model = open_dfm(write(tmp_path / "model.dfm", gain=(60000.0, 1.0, 1.0), half="all"))
    with pytest.raises(FaceModelError, match="no valid numbers"):
        model.run(np.full((64, 64, 3), np.inf, np.float32))


@pytest.mark.parametrize("half", ["", "all"])
def test_bound_inputs_and_outputs_give_the_same(tmp_path: Path, half: str) -> None:
    path = write(tmp_path / "model.dfm", half=half)
    plain, bound = NetworkSession(path, bind=False), NetworkSession(path, bind=True)
    rng = np.random.default_rng(1)
    for _ in range(3):
        face = rng.random((1, 64, 64, 3)).astype(np.float16 if half else np.float32)
        a, b = plain.run({"in_face:0": face}), bound.run({"in_face:0": face})
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])
    assert bound.provider == plain.provider

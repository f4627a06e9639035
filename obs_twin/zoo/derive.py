"""Models that are cut from fetched ones: built once for each user, cached, and checked like the fetched ones.

    path = derived_path("whisper_taps")   # builds it the first time; the sources must have been fetched

What comes out depends on the sources' bytes and on the recipe. Both are in the cached file's name, so a new
version of either is built anew and never mistaken for the old one. A further derived model is one function from
the sources' paths to the bytes of an ONNX file, and one line in `DERIVED`. Only building needs the `onnx` package.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obs_twin.link.paths import ensure
from obs_twin.zoo import face_embedder_onnx, whisper_encoder_onnx
from obs_twin.zoo.catalogue import ModelError
from obs_twin.zoo.store import ModelStore, sha256_of

Build = Callable[[Mapping[str, Path]], bytes]


@dataclass(frozen=True)
class Derived:
    """One derived model.

    what: what it is, for the list.
    sources: names in models/models.json that it is made from; their licences hold for it too.
    version: raised by one whenever `build` gives other bytes than before.
    build: called with {source name: path}; returns the bytes of an ONNX file.
    """

    what: str
    sources: tuple[str, ...]
    version: int
    build: Build


def _hibari_decoder(sources: Mapping[str, Path]) -> bytes:
    import onnx

    model = onnx.load(str(sources["hibari_tts"]))
    cut = onnx.utils.Extractor(model).extract_model(
        ["/Reshape_42_output_0", "f0", "/Mul_62_output_0"], ["lh", "theta", "ln", "lr", "phi"]
    )
    rename = {"/Reshape_42_output_0": "content", "f0": "f0_hz", "/Mul_62_output_0": "energy"}
    _rename(cut, rename)
    shapes: dict[str, list[int | str]] = {
        "content": [1, 128, "frames"],
        "f0_hz": [1, "frames"],
        "energy": [1, "frames"],
    }
    del cut.graph.input[:]
    for name, shape in shapes.items():
        cut.graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    del cut.graph.value_info[:]
    content: bytes = cut.SerializeToString()
    return content


def _hibari_text(sources: Mapping[str, Path]) -> bytes:
    import onnx

    model = onnx.load(str(sources["hibari_tts"]))
    wanted = {"/Reshape_42_output_0": "content", "f0": "f0_hz", "/Mul_62_output_0": "energy"}
    cut = onnx.utils.Extractor(model).extract_model(["ids", "speed"], list(wanted))
    _keep_outputs(cut, wanted)
    del cut.graph.value_info[:]
    content: bytes = cut.SerializeToString()
    return content


DERIVED: Mapping[str, Derived] = {
    "whisper_taps": Derived(
        "The encoder of Whisper base, taught to hear a stream, 8-bit: log mel spectrum mel (1, 80, T) at 100 frames/s "
        "to layer_3 and last, each (1, T / 2 - 2, 512).",
        (*whisper_encoder_onnx.WEIGHTS, whisper_encoder_onnx.CHANGES),
        2,
        whisper_encoder_onnx.build_whisper_encoder,
    ),
    "hibari_decoder": Derived(
        "The sound half of the hibari voice: content (1, 128, F) at 80 frames/s, f0_hz (1, F), energy (1, F) to "
        "lh, theta, ln, lr, phi, each (1, 601, F): the spectra of 1200-point frames each 300 samples at 24 kHz.",
        ("hibari_tts",),
        1,
        _hibari_decoder,
    ),
    "hibari_text": Derived(
        "The text half of the hibari voice: phoneme ids (1, L) int64 and speed (1,) to what its sound half takes: "
        "content (1, 128, F) at 80 frames/s, f0_hz (1, F), energy (1, F).",
        ("hibari_tts",),
        1,
        _hibari_text,
    ),
    "face_embedder": Derived(
        "Whose face it is: dlib's recognition network, rgb (N, 3, 150, 150) in 0..255 to embedding (N, 128).",
        (face_embedder_onnx.WEIGHTS, face_embedder_onnx.MANIFEST),
        1,
        face_embedder_onnx.build_face_embedder,
    ),
}

_lock = threading.Lock()
_known_whole: dict[Path, tuple[int, int]] = {}
"""Size and time of the files whose sha256 was computed and found right."""


def derived_path(name: str, store: ModelStore | None = None) -> Path:
    """The file of the derived model `name`, built now if it was not yet (seconds), and known to be whole.

    Raises:
        ModelError: there is no such model, a source is missing or damaged, or it cannot be built.
    """
    if name not in DERIVED:
        raise ModelError(f"There is no derived model called {name!r}. There are: {', '.join(sorted(DERIVED))}.")
    store = ModelStore() if store is None else store
    recipe = DERIVED[name]
    with _lock:
        path = store.cache_dir / f"{name}-{_key(name, recipe, store)}.onnx"
        digest = path.with_suffix(".sha256")
        if _is_whole(path, digest):
            return path
        content = _built(name, recipe, {source: store.path(source) for source in recipe.sources})
        try:
            ensure(store.cache_dir)
            for stale in store.cache_dir.glob(f"{name}-*-*.*"):
                if stale.suffix in (".onnx", ".sha256"):
                    stale.unlink(missing_ok=True)
            _write(path, content)
            _write(digest, hashlib.sha256(content).hexdigest().encode("ascii") + b"\n")
        except OSError as error:
            raise ModelError(
                f"The model {name!r} cannot be stored in {store.cache_dir}: {error.strerror or error}. Make room, or "
                "let OBS_TWIN_CACHE name a folder on another disk."
            ) from error
        return path


def _is_whole(path: Path, digest: Path) -> bool:
    """Whether the file is what was built; computed once, and again when its size or time has changed."""
    try:
        stat = path.stat()
        mark = (stat.st_size, stat.st_mtime_ns)
        if _known_whole.get(path) != mark:
            if digest.read_text(encoding="ascii").strip() != sha256_of(path):
                return False
            _known_whole[path] = mark
    except OSError:
        return False
    return True


def sources_of(names: Sequence[str]) -> list[str]:
    """`names` with every derived model replaced by the listed models that it is made from."""
    plain: dict[str, None] = {}
    for name in names:
        plain |= dict.fromkeys(DERIVED[name].sources if name in DERIVED else (name,))
    return list(plain)


def _key(name: str, recipe: Derived, store: ModelStore) -> str:
    """The recipe's version and a digest of the sources' expected bytes: "1-0123456789ab"."""
    joined = "\n".join(store.entry(source).sha256 for source in recipe.sources)
    return f"{recipe.version}-{hashlib.sha256(joined.encode('ascii')).hexdigest()[:12]}"


def _built(name: str, recipe: Derived, sources: Mapping[str, Path]) -> bytes:
    try:
        return recipe.build(sources)
    except ImportError as error:
        raise ModelError(
            f"The model {name!r} has to be built once, which needs the package {error.name!r}: run: "
            "python -m pip install -r requirements.txt"
        ) from error
    except Exception as error:  # a foreign file may be wrong in any way
        first = (str(error).strip().splitlines() or [""])[0][:300]
        raise ModelError(
            f"The model {name!r} cannot be built from {', '.join(recipe.sources)} ({type(error).__name__}: {first}). "
            "The installed onnx or onnxruntime may be too old: run: python -m pip install -U onnx onnxruntime"
        ) from error


def _write(path: Path, content: bytes) -> None:
    """Put `content` at `path` in one step, so that no other process ever sees half of it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _keep_outputs(model: Any, names: Mapping[str, str]) -> None:
    """Make the tensors `names` (float, of any shape) the model's outputs, in this order, under new names."""
    import onnx

    _rename(model, names)
    del model.graph.output[:]
    for name in names.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))


def _rename(model: Any, names: Mapping[str, str]) -> None:
    """Give tensors of the graph new names."""
    for node in model.graph.node:
        for part in (node.input, node.output):
            for index, name in enumerate(part):
                if name in names:
                    part[index] = names[name]

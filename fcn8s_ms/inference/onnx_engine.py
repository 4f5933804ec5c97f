"""The engine that computes an exported network with ONNX Runtime; it needs no MindSpore."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from ..errors import InputError
from ..formats import onnx_digest, onnx_file, onnx_metadata, paths, sealing
from ..system import threads

if TYPE_CHECKING:  # not every machine has it
    import onnxruntime

__all__ = ["OnnxEngine"]

_PROVIDERS = {
    "Ascend": "CANNExecutionProvider",
    "GPU": "CUDAExecutionProvider",
    "CPU": "CPUExecutionProvider",
}


class OnnxEngine:
    """Runs a file of `python -m fcn8s_ms.export --format ONNX` on batches of any size.

    A file of a fixed size gets batches padded to it, and smaller ones if a batch has more images.

    Args:
        path: the ONNX file.
        device: 'CPU', 'GPU', 'Ascend', or 'auto' for the first of Ascend, GPU, CPU that the
            installed ONNX Runtime supports.

    Attributes:
        n_class: number of classes.
        multiple: height and width of a normalised batch are multiples of it.
        has_logits: whether it computes logits; class ids only with `--argmax`.
        reduces_on_host: the same; class ids follow from the logits outside of the file.
        takes_pixels: whether batches are pixels, of a file exported with `--normalize`.
        size: images of a batch, height and width of a file that takes no others; None for any.
        metadata: entries that the export put into the file: `classes`, `palette`, `mean`, `std`, …

    Raises:
        InputError: ONNX Runtime is not installed or does not support the device, or the file is
            missing, damaged, or has other inputs or outputs.
    """

    def __init__(self, path: files.PathLike, device: str = "auto"):
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                'the ONNX engine needs onnxruntime: pip install onnxruntime "numpy<2"'
            ) from error
        path = Path(path).absolute()
        if not path.is_file():
            raise InputError(f"network {path} is missing; check the path")
        paths.check_utf8(path)
        _check_digest(path)
        available = onnxruntime.get_available_providers()
        wanted = _PROVIDERS if device == "auto" else [device]
        names = [_PROVIDERS[name] for name in wanted if _PROVIDERS.get(name) in available]
        if not names:
            raise InputError(
                f"device {device} is not available to ONNX Runtime here; it has "
                f"{', '.join(available)}. Take --device CPU, or install onnxruntime for the device"
            )
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: they come as exceptions
        # Its own choice counts all cores of the machine, whatever a container may use of them.
        options.intra_op_num_threads = threads.available_cores()
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=names)
        except Exception as error:  # onnxruntime has a class of its own for every fault
            raise InputError(
                f"network {path} cannot be loaded: {str(error).splitlines()[0]}; export it again"
            ) from error
        self._name = f"ONNX Runtime {onnxruntime.__version__}, {names[0]}"
        self.metadata = _metadata(self._session, path)
        self.n_class = len(self.metadata["classes"])
        self.multiple: int = self.metadata["multiple"]
        source, output = _interface(self._session, path, self.n_class)
        self.has_logits = self.reduces_on_host = output.name != "class_ids"
        self.takes_pixels = source.type == "tensor(uint8)"
        self.size = _fixed_size(source.shape, self.takes_pixels)
        self._source, self._output, self._path = source.name, output.name, path

    @property
    def name(self) -> str:
        """ONNX Runtime's version and execution provider."""
        return self._name

    def _run(self, batch: np.ndarray) -> np.ndarray:
        if self.size is None:
            return self._run_whole(batch)
        count, *sides = self.size
        height, width = batch.shape[1:3] if self.takes_pixels else batch.shape[2:]
        if height > sides[0] or width > sides[1]:
            raise InputError(self._too_large(height, width))
        results = []
        for start in range(0, len(batch), count):
            part = batch[start : start + count]
            results.append(self._run_whole(self._padded(part))[: len(part), ..., :height, :width])
        return np.concatenate(results)

    def _padded(self, part: np.ndarray) -> np.ndarray:
        """A batch of the fixed size, filled up with zeros, or pixels of the mean colour."""
        assert self.size is not None
        if self.takes_pixels:
            whole = np.empty((*self.size, 3), np.uint8)
            whole[:] = np.rint(self.metadata["mean"]).astype(np.uint8)
            whole[: len(part), : part.shape[1], : part.shape[2]] = part
        else:
            count, height, width = self.size
            whole = np.zeros((count, 3, height, width), np.float32)
            whole[: len(part), :, : part.shape[2], : part.shape[3]] = part
        return whole

    def _too_large(self, height: int, width: int) -> str:
        assert self.size is not None
        _, *most = self.size
        remedy = "scale images down first"
        if self.has_logits:
            side = min(most)
            remedy = f"pass --resize {most[0]}x{most[1]}, or windows: --sliding {side} {side // 2}"
        return (
            f"network {self._path} was exported for {most[0]}x{most[1]} (height x width) and an "
            f"image needs {height}x{width}: {remedy}; or export it without --height and --width"
        )

    def _run_whole(self, batch: np.ndarray) -> np.ndarray:
        batch = np.ascontiguousarray(batch, np.uint8 if self.takes_pixels else np.float32)
        try:
            result: np.ndarray = self._session.run([self._output], {self._source: batch})[0]
        except Exception as error:  # as above: sizes that do not fit are found only here
            raise InputError(
                f"network {self._path} cannot be computed: {str(error).splitlines()[0]}; export it "
                "again, or give smaller images if there is too little memory"
            ) from error
        if result.dtype.kind == "f" and not np.isfinite(result).all():
            raise InputError(
                f"network {self._path} computes logits that are not finite; export it again from a "
                "checkpoint that is whole"
            )
        return result

    def class_ids(self, batch: np.ndarray) -> np.ndarray:
        """Computes the class ids of a batch.

        Args:
            batch: normalised, float32 (N, 3, H, W), H and W multiples of `multiple`; or, with
                `takes_pixels`, uint8 (N, H, W, 3), BGR, of any size.

        Returns:
            int32 array (N, H, W).
        """
        result = self._run(batch)
        return result if not self.has_logits else result.argmax(axis=1).astype(np.int32)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Computes the logits of a batch as of `class_ids`: float32 (N, n_class, H, W).

        Raises:
            InputError: the file computes class ids only.
        """
        if not self.has_logits:
            raise InputError(
                f"network {self._path} computes class ids, not the logits that other sizes and "
                "scales, mirroring, windows and probabilities need; export it without --argmax"
            )
        return self._run(batch)


def _check_digest(path: Path) -> None:
    """Raises InputError for a damaged file; warns of one without a digest."""
    try:
        content = files.read_bytes(path)
        found, stored = onnx_digest.digest(content)
    except ValueError as error:
        raise InputError(
            f"network {path} cannot be loaded: it is damaged ({error}); export it again"
        ) from error
    if stored is None:
        sealing.name_unsealed("network", path, "export it again with fcn8s_ms.export")
    elif stored != found:
        raise InputError(
            f"network {path} cannot be loaded: its checksum differs, so it is damaged or was "
            "changed by another program. Export it again, or remove the entry sha256 from its "
            "metadata"
        )
    try:
        onnx_file.read(content)
    except ValueError as error:
        raise InputError(f"network {path} cannot be loaded: {error}; export it again") from error


def _metadata(session: "onnxruntime.InferenceSession", path: Path) -> dict[str, Any]:
    try:
        texts = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        raise InputError(
            f"network {path}: its metadata is not UTF-8 text; export it again with fcn8s_ms.export"
        ) from None
    return onnx_metadata.parse(texts, f"network {path}")


def _fixed_size(shape: Sequence[Any], takes_pixels: bool) -> tuple[int, int, int] | None:
    """Images of a batch, height and width, if the shape of the input fixes them all."""
    count, height, width = shape[:3] if takes_pixels else (shape[0], *shape[2:])
    if isinstance(count, int) and isinstance(height, int) and isinstance(width, int):
        return count, height, width
    return None


def _interface(
    session: "onnxruntime.InferenceSession", path: Path, num_classes: int
) -> tuple[Any, Any]:
    """The input and the output, which must be those of an export."""
    sources, outputs = session.get_inputs(), session.get_outputs()
    if len(sources) != 1 or len(outputs) != 1 or len(sources[0].shape) != 4:
        raise InputError(
            f"network {path} has other inputs and outputs than an exported FCN; export it again "
            "with fcn8s_ms.export"
        )
    (source,), (output,) = sources, outputs
    if source.type not in ("tensor(float)", "tensor(uint8)"):
        raise InputError(
            f"network {path} takes {source.type}, neither pixels nor normalised images; export it "
            "again with fcn8s_ms.export"
        )
    if output.name != "class_ids":
        computed = output.shape[1] if len(output.shape) == 4 else None
        if isinstance(computed, int) and computed != num_classes:
            raise InputError(
                f"network {path} computes {computed} classes, its metadata names {num_classes}; "
                "export it again with fcn8s_ms.export"
            )
    return source, output

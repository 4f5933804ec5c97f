"""MINDIR and AIR files, and the network with what they may do before and after it."""

import errno

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from .. import files, voc

__all__ = ["Deployed", "run", "write"]


class Deployed(nn.Cell):
    """A network from pixels or normalised images to class ids or logits.

    Args:
        network: `FCN8s`, `FCN16s` or `FCN32s`; not changed.
        argmax: output class ids instead of logits.
        normalize: take pixels, and normalise them here.

    Inputs:
        image: uint8 Tensor (N, H, W, 3), BGR, with `normalize`; else float32 (N, 3, H, W),
        normalised BGR. H and W are multiples of 32.

    Outputs:
        int32 Tensor (N, H, W) with `argmax`; else float32 (N, n_class, H, W).
    """

    def __init__(self, network: nn.Cell, *, argmax: bool = False, normalize: bool = False):
        super().__init__(auto_prefix=False)
        self.network = network
        self.argmax = argmax
        self.normalize = normalize
        self.mean = Tensor(voc.IMAGE_MEAN, ms.float32).reshape(1, 3, 1, 1)
        self.std = Tensor(voc.IMAGE_STD, ms.float32).reshape(1, 3, 1, 1)

    def construct(self, image: Tensor) -> Tensor:
        if self.normalize:
            image = ops.cast(ops.transpose(image, (0, 3, 1, 2)), ms.float32)
            image = (image - self.mean) / self.std
        logits = self.network(image)
        if self.argmax:
            return ops.cast(ops.argmax(logits, 1), ms.int32)
        return logits


def write(
    network: nn.Cell,
    path: files.PathLike,
    file_format: str,
    *,
    size: tuple[int, int, int] | None = None,
    argmax: bool = False,
    normalize: bool = False,
) -> None:
    """Writes a network as a file of MindSpore.

    Args:
        network: `FCN8s`, `FCN16s` or `FCN32s`; not changed.
        path: file to write.
        file_format: 'MINDIR' or 'AIR'.
        size: images of a batch, height and width; None for any.
        argmax: as for `Deployed`.
        normalize: as for `Deployed`.

    Raises:
        OSError: MindSpore cannot write the file.
    """
    count, height, width = size or (None, None, None)
    if normalize:
        source = Tensor(shape=[count, height, width, 3], dtype=ms.uint8)
    else:
        source = Tensor(shape=[count, 3, height, width], dtype=ms.float32)
    cell = Deployed(network, argmax=argmax, normalize=normalize)
    was_training = network.training
    level = ms.get_context("jit_syntax_level")
    cell.set_train(False)
    try:
        ms.export(cell, source, file_name=str(path), file_format=file_format)
    except RuntimeError as error:
        raise OSError(errno.EIO, str(error).splitlines()[0]) from error
    finally:
        cell.set_train(was_training)
        ms.set_context(jit_syntax_level=level)  # a failed export leaves another one


def run(path: files.PathLike, image: np.ndarray) -> np.ndarray:
    """Runs a MINDIR file.

    Args:
        path: file of `write`.
        image: input of the network, as of `Deployed`.

    Returns:
        Output of the network, as of `Deployed`.
    """
    return nn.GraphCell(ms.load(str(path)))(Tensor(image)).asnumpy()

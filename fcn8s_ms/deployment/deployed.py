"""The network with what a deployed file may do before and after it."""

import mindspore as ms
from mindspore import Tensor, nn, ops

from .. import voc

__all__ = ["Deployed"]


class Deployed(nn.Cell):
    """A network from pixels or normalised images to class ids or logits.

    Args:
        network: `FCN8s`, `FCN16s` or `FCN32s`.
        argmax: class ids come out, not logits.
        normalize: pixels go in, and are normalised here.

    Inputs:
        image: uint8 Tensor (N, H, W, 3), BGR, with `normalize`; else float32 (N, 3, H, W),
        normalised BGR. H and W are multiples of 32.

    Outputs:
        int32 Tensor (N, H, W) with `argmax`; else float32 (N, n_class, H, W).
    """

    def __init__(self, network, *, argmax: bool = False, normalize: bool = False):
        super().__init__(auto_prefix=False)
        self.network = network
        self.argmax = argmax
        self.normalize = normalize
        self.mean = Tensor(voc.IMAGE_MEAN, ms.float32).reshape(1, 3, 1, 1)
        self.std = Tensor(voc.IMAGE_STD, ms.float32).reshape(1, 3, 1, 1)

    def construct(self, image):
        if self.normalize:
            image = ops.cast(ops.transpose(image, (0, 3, 1, 2)), ms.float32)
            image = (image - self.mean) / self.std
        logits = self.network(image)
        if self.argmax:
            return ops.cast(ops.argmax(logits, 1), ms.int32)
        return logits

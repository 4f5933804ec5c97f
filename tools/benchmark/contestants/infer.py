"""Class ids of one image."""

import tempfile
from functools import partial
from pathlib import Path

from ..workloads import (
    drawn_images,
    folded_network,
    in_child,
    network_of,
    plain_network,
    torch_network,
    write_int8,
    write_onnx,
)


def ours(options):
    """Class ids of one image with this package's engine, or with an exported file."""
    image, _ = drawn_images(1, options.crop)
    if options.network is not None:
        from fcn8s_ms.inference.onnx_engine import OnnxEngine

        engine = OnnxEngine(options.network, "CPU")
        return lambda: len(engine.class_ids(image))
    from fcn8s_ms.inference.mindspore_engine import MindSporeEngine

    engine = MindSporeEngine(folded_network(**network_of(options)))
    return lambda: len(engine.class_ids(image))


def plain(options):
    """Logits of one image, reduced in numpy, the tutorial's way."""
    import mindspore as ms

    network = plain_network(**network_of(options)).set_train(False)
    image, _ = drawn_images(1, options.crop)

    def round_():
        return len(network(ms.Tensor(image)).asnumpy().argmax(axis=1))

    return round_


def onnx(options):
    """Class ids of one image with ONNX Runtime, from an exported file."""
    return _exported(write_onnx, options)


def int8(options):
    """The same of a file in 8-bit integers, whose ranges are those of drawn pictures."""
    return _exported(write_int8, options)


def _exported(write, options):
    from fcn8s_ms.inference.onnx_engine import OnnxEngine

    image, _ = drawn_images(1, options.crop)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        # Its memory is not that of inference.
        in_child(write, path, options.crop, network_of(options))
        engine = OnnxEngine(path, "CPU")
    return lambda: len(engine.class_ids(image))


def pytorch(options, *, bfloat16=False, is_compiled=False):
    """Class ids of one image in PyTorch.

    Args:
        options: `crop`, and those of the network.
        bfloat16: lay out channels last, and compute what autocast does in bfloat16.
        is_compiled: compile the network with `torch.compile`.
    """
    import torch

    network = torch_network(**network_of(options)).eval()
    image = torch.from_numpy(drawn_images(1, options.crop)[0])
    if bfloat16:
        network = network.to(memory_format=torch.channels_last)
        image = image.to(memory_format=torch.channels_last)
    if is_compiled:
        network = torch.compile(network)

    def round_():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return len(network(image).argmax(dim=1).numpy())

    return round_


PYTORCH = {
    "torch": pytorch,
    "torch-bf16": partial(pytorch, bfloat16=True),
    "torch-compile": partial(pytorch, is_compiled=True),
    "torch-bf16-compile": partial(pytorch, bfloat16=True, is_compiled=True),
}
"""PyTorch's ways, by the names of the contestants."""

"""Drawn images, logits and files, and the networks, which the contestants share."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fcn8s_ms import device, voc
from fcn8s_ms.network.architectures import ARCHITECTURES

BATCH = 4
"""Images per training step, and per batch of the pipelines and the metrics."""

_CALIBRATION_IMAGES = 4  # of noise: the ranges do not matter for the time


def drawn_images(count: int, crop: int):
    """Noise as a network gets it.

    Returns:
        float32 array (count, 3, crop, crop), and its label, int32 array (count, crop, crop).
    """
    rng = np.random.RandomState(0)
    images = rng.standard_normal((count, 3, crop, crop)).astype(np.float32)
    return images, rng.randint(0, voc.NUM_CLASSES, (count, crop, crop)).astype(np.int32)


def drawn_logits(crop: int = 512):
    """Noise as a network returns it.

    Returns:
        float32 array (BATCH, classes, crop, crop), and a label, int32 array (BATCH, crop, crop).
    """
    rng = np.random.RandomState(0)
    logits = rng.standard_normal((BATCH, voc.NUM_CLASSES, crop, crop)).astype(np.float32)
    return logits, rng.randint(0, voc.NUM_CLASSES, (BATCH, crop, crop)).astype(np.int32)


def drawn_pairs(
    count: int, height: int = 375, width: int = 500, n_class: int = voc.NUM_CLASSES
) -> list[tuple[bytes, bytes]]:
    """JPEGs and label PNGs as bytes, of VOC's size and classes if no others are given."""
    import cv2

    rng = np.random.RandomState(0)
    pairs = []
    for _ in range(count):
        coarse = rng.randint(0, 256, (24, 32, 3)).astype(np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        image = cv2.add(image, rng.randint(0, 24, image.shape).astype(np.uint8))
        label = cv2.resize(
            rng.randint(0, n_class, (6, 8)).astype(np.uint8),
            (width, height),
            interpolation=cv2.INTER_NEAREST,
        )
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
        # Decodes in 0.14 ms as VOC's own masks do; without a level it would be 0.5 ms.
        png = cv2.imencode(".png", label, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        pairs.append((jpeg.tobytes(), png.tobytes()))
    return pairs


def write_pairs(folder: Path, drawn) -> list:
    """Writes JPEGs and label PNGs into a folder.

    Args:
        folder: an existing folder.
        drawn: images and labels as `drawn_pairs` returns them.

    Returns:
        `fcn8s_ms.sources.Pair` of each.
    """
    from fcn8s_ms.records import sources

    pairs = []
    for number, (image, label) in enumerate(drawn):
        pair = sources.Pair(str(number), folder / f"{number}.jpg", folder / f"{number}.png")
        pair.image.write_bytes(image)
        pair.mask.write_bytes(label)
        pairs.append(pair)
    return pairs


def mindspore_step(network, loss_function, images, labels):
    """A round that trains a MindSpore network for one step, with the tutorial's optimizer."""
    import mindspore as ms
    from mindspore import nn

    optimizer = nn.Momentum(
        params=network.trainable_params(), learning_rate=0.01, momentum=0.9, weight_decay=1e-4
    )
    step = nn.TrainOneStepCell(nn.WithLossCell(network, loss_function), optimizer).set_train()
    images, labels = ms.Tensor(images), ms.Tensor(labels)

    def round_():
        step(images, labels).asnumpy()
        return len(images)

    return round_


def network_of(options, *, training: bool = False) -> dict[str, Any]:
    """Arguments of the functions below, from the command line.

    Args:
        options: `arch` and `fc_width`.
        training: whether the network gets an auxiliary head, if there is one for it.
    """
    found = {"arch": options.arch}
    if options.fc_width is not None:
        found["fc_width"] = options.fc_width
    if training and ARCHITECTURES[options.arch].has_auxiliary:
        found["auxiliary"] = True
    return found


def own_network(arch: str = "fcn8s", *, device_id: int | None = 0, **arguments):
    """The network as this package trains it on a CPU.

    Args:
        arch: name in `fcn8s_ms.network.architectures.ARCHITECTURES`.
        device_id: as in `fcn8s_ms.device.configure`.
        arguments: of the network's class, besides the number of classes.
    """
    from fcn8s_ms.model import NETWORKS
    from fcn8s_ms.network import cpu

    device.configure("CPU", device_id=device_id)
    return cpu.accelerate(NETWORKS[arch](voc.NUM_CLASSES, **arguments))


def folded_network(arch: str, **arguments):
    """The network as this package runs it for inference; arguments as of `own_network`."""
    from fcn8s_ms.model import NETWORKS
    from fcn8s_ms.network.batch_norm import fold_batch_norm

    device.configure("CPU")
    return fold_batch_norm(NETWORKS[arch](voc.NUM_CLASSES, **arguments))


def plain_network(arch: str, **arguments):
    """The network as the tutorial writes it, of MindSpore's own layers and nothing else.

    Args:
        arch: as of `own_network`.
        arguments: as of `own_network`.
    """
    import mindspore as ms

    from fcn8s_ms.model import NETWORKS

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    return NETWORKS[arch](voc.NUM_CLASSES, **arguments)


def torch_network(arch: str, **arguments):
    """The same network in PyTorch, eager; arguments as of `own_network`."""
    import torch

    torch.manual_seed(0)
    if ARCHITECTURES[arch].family == "resnet":
        from torch_fcn_resnet import FCNResNet

        return FCNResNet(arch, voc.NUM_CLASSES, **arguments)
    if ARCHITECTURES[arch].family == "paper":
        from torch_fcn_paper import FCNPaper

        return FCNPaper(arch, voc.NUM_CLASSES, **arguments)
    import torch_fcn8s

    return torch_fcn8s.ARCHITECTURES[arch](voc.NUM_CLASSES, **arguments)


def in_child(function, *arguments) -> None:
    """Calls a function of this package in a process of its own, and waits for it."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(function, *arguments).result()


def write_onnx(path: Path, crop: int, arguments: dict[str, Any]) -> None:
    """Exports the network with random weights.

    Args:
        path: file to write.
        crop: not needed.
        arguments: of `folded_network`.
    """
    from fcn8s_ms.deployment import onnx_graph

    del crop
    network = folded_network(**arguments)
    metadata = {
        "classes": voc.CLASSES,
        "palette": voc.palette()[: voc.NUM_CLASSES].tolist(),
        "mean": voc.IMAGE_MEAN,
        "std": voc.IMAGE_STD,
    }
    onnx_graph.write(onnx_graph.build(network, argmax=True, metadata=metadata), path)


def write_int8(path: Path, crop: int, arguments: dict[str, Any]) -> None:
    """Exports the network in 8-bit integers, with the ranges of activations on drawn images.

    Args:
        path: file to write.
        crop: side of the images in pixels.
        arguments: of `folded_network`.
    """
    from fcn8s_ms.deployment import onnx_graph, quantise

    whole = path.with_name("float32.onnx")
    write_onnx(whole, crop, arguments)
    batches = (image[np.newaxis] for image in drawn_images(_CALIBRATION_IMAGES, crop)[0])
    model = quantise.quantise(whole, path, batches, activations=quantise.activations_here())
    onnx_graph.write(model, path)
    whole.unlink()

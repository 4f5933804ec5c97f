"""A training step."""

from functools import partial

from fcn8s_ms import voc
from fcn8s_ms.training.network_options import AUX_WEIGHT

from ..workloads import (
    BATCH,
    drawn_images,
    mindspore_step,
    network_of,
    own_network,
    plain_network,
    torch_network,
)


def ours(options):
    """A training step of this package."""
    from fcn8s_ms.loss import CrossEntropyLoss

    network = own_network(**network_of(options, training=True))
    return _step(network, CrossEntropyLoss(), options)


def plain(options):
    """A training step the tutorial's way."""
    from mindspore import nn

    loss_function = nn.CrossEntropyLoss(ignore_index=voc.IGNORE_LABEL)
    network = plain_network(**network_of(options, training=True))
    return _step(network, loss_function, options)


def _step(network, loss_function, options):
    from fcn8s_ms.loss import AuxiliaryLoss

    if getattr(network, "has_auxiliary", False):
        loss_function = AuxiliaryLoss(loss_function, AUX_WEIGHT)
    return mindspore_step(network, loss_function, *drawn_images(BATCH, options.crop))


def pytorch(options, *, bfloat16=False, is_compiled=False):
    """A training step in PyTorch; arguments as in `infer`."""
    import torch
    from torch.nn import functional

    network = torch_network(**network_of(options, training=True)).train()
    images, labels = (torch.from_numpy(array) for array in drawn_images(BATCH, options.crop))
    labels = labels.long()
    if bfloat16:
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    if is_compiled:
        network = torch.compile(network)

    def loss_of(logits):
        return functional.cross_entropy(logits.float(), labels, ignore_index=voc.IGNORE_LABEL)

    def round_():
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            outputs = network(images)
        if isinstance(outputs, tuple):
            loss = loss_of(outputs[0]) + AUX_WEIGHT * loss_of(outputs[1])
        else:
            loss = loss_of(outputs)
        loss.backward()
        optimizer.step()
        loss.item()
        return BATCH

    return round_


PYTORCH = {
    "torch": pytorch,
    "torch-bf16": partial(pytorch, bfloat16=True),
    "torch-compile": partial(pytorch, is_compiled=True),
    "torch-bf16-compile": partial(pytorch, bfloat16=True, is_compiled=True),
}
"""PyTorch's ways, by the names of the contestants."""

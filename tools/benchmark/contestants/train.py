"""A training step."""

from fcn8s_ms import voc

from ..workloads import (
    BATCH,
    drawn_images,
    mindspore_step,
    own_network,
    plain_network,
    sizes_of,
    torch_network,
)


def ours(options):
    """A training step of this package."""
    from fcn8s_ms.loss import CrossEntropyLoss

    network = own_network(**sizes_of(options))
    return mindspore_step(network, CrossEntropyLoss(), *drawn_images(BATCH, options.crop))


def plain(options):
    """A training step the tutorial's way."""
    from mindspore import nn

    loss_function = nn.CrossEntropyLoss(ignore_index=voc.IGNORE_LABEL)
    network = plain_network(**sizes_of(options))
    return mindspore_step(network, loss_function, *drawn_images(BATCH, options.crop))


def pytorch(options):
    """A training step in PyTorch."""
    import torch
    from torch.nn import functional

    network = torch_network(**sizes_of(options)).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images, labels = (torch.from_numpy(array) for array in drawn_images(BATCH, options.crop))
    labels = labels.long()

    def round_():
        optimizer.zero_grad()
        loss = functional.cross_entropy(network(images), labels, ignore_index=voc.IGNORE_LABEL)
        loss.backward()
        optimizer.step()
        loss.item()
        return BATCH

    return round_

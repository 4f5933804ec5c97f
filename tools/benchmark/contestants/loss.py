"""Value and gradient of a loss."""

from fcn8s_ms import device, voc

from ..workloads import BATCH, drawn_logits


def ours(options):
    """The loss of `--loss`, as a training makes it."""
    from fcn8s_ms.training.losses import make_loss

    device.configure("CPU")
    return _round(make_loss(terms(options)), options)


def terms(options) -> list[tuple[float, str]]:
    """Factor and name of each term of `--loss`.

    Raises:
        InputError: it is not a sum of losses.
    """
    from fcn8s_ms.training.options import OptimizerOptions

    return OptimizerOptions(loss=options.loss).loss_terms()


def plain(options):
    """The tutorial's cross-entropy, whatever `--loss` is."""
    import mindspore as ms
    from mindspore import nn

    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    return _round(nn.CrossEntropyLoss(ignore_index=voc.IGNORE_LABEL), options)


def pytorch(options):
    """PyTorch's cross-entropy, whatever `--loss` is."""
    import torch
    from torch.nn import functional

    logits, label = (torch.from_numpy(array) for array in drawn_logits(options.crop))
    logits.requires_grad_()
    label = label.long()

    def round_():
        logits.grad = None
        value = functional.cross_entropy(logits, label, ignore_index=voc.IGNORE_LABEL)
        value.backward()
        value.item()
        return BATCH

    return round_


def _round(loss, options):
    import mindspore as ms

    logits, label = (ms.Tensor(array) for array in drawn_logits(options.crop))
    both = ms.value_and_grad(loss)

    def round_():
        value, gradient = both(logits, label)
        value.asnumpy(), gradient.asnumpy()
        return BATCH

    return round_

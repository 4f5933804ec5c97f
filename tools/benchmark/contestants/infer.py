"""Class ids of one image."""

from ..workloads import drawn_images, folded_network, network_of, plain_network, torch_network


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


def pytorch(options):
    """Class ids of one image in PyTorch."""
    import torch

    network = torch_network(**network_of(options)).eval()
    image = torch.from_numpy(drawn_images(1, options.crop)[0])

    def round_():
        with torch.inference_mode():
            return len(network(image).argmax(dim=1).numpy())

    return round_

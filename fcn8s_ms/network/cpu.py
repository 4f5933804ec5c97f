"""Layers that a CPU computes faster, put in place of a network's plain ones.

They adopt the parameters of the layers they replace, under the same names, and compute the same
numbers up to rounding. What they change is training: evaluation runs the same kernels as before.

Of each convolution in conv1…conv5 training keeps one tensor for the backward pass, the
convolution's output; BatchNorm and ReLU are computed again there (activation checkpointing).
"""

from collections.abc import Sequence

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.operations._grad_ops import (
    BatchNormGrad,
    Conv2DBackpropFilter,
    MaxPoolGrad,
    ReluGrad,
)

from .architectures import architecture_of

__all__ = ["CpuConv2d", "CpuMaxPool2d", "CpuResize", "CpuStage", "MatMulConv2d", "accelerate"]


def accelerate(network: nn.Cell) -> nn.Cell:
    """Puts the layers below in place of an FCN's plain ones; for training on a CPU.

    Call it after weights are loaded and layers frozen, and before the network is compiled. A second
    call changes nothing.

    Args:
        network: one of `fcn8s_ms.model.NETWORKS`; another one stays unchanged. It is changed in
            place: its Parameter objects stay, with their names and order. oneDNN computes every
            convolution of an FCN on a ResNet with a fast kernel, so those stay.

    Returns:
        The network.
    """
    architecture = architecture_of(network)
    if architecture is None:
        return network
    if architecture.family == "resnet":
        if not isinstance(network.resize, CpuResize):
            network.resize = CpuResize(network.resize)
        return network
    names = [(parameter, parameter.name) for parameter in network.get_parameters()]
    if architecture.family == "vgg":
        _accelerate_stages(network)
    else:
        _accelerate_layers(network)
    for parameter, name in names:  # a cell renames what is put into it
        parameter.name = name
    return network


def _accelerate_stages(network: nn.Cell) -> None:
    for number in range(1, 6):
        stage, pool = getattr(network, f"conv{number}"), getattr(network, f"pool{number}")
        if not isinstance(stage, CpuStage):
            setattr(network, f"conv{number}", CpuStage([*stage, pool]))
            setattr(network, f"pool{number}", nn.Identity())
    for stage in (network.conv6, network.conv7):
        if not isinstance(stage[0], MatMulConv2d):
            stage[0] = MatMulConv2d(stage[0]).set_train(stage[0].training)


def _accelerate_layers(network: nn.Cell) -> None:
    for name, layer in [*network.name_cells().items()]:
        if name in ("fc6", "fc7") and isinstance(layer, nn.Conv2d):
            setattr(network, name, MatMulConv2d(layer).set_train(layer.training))
        elif name.startswith("conv") and isinstance(layer, nn.Conv2d) and layer.pad_mode == "same":
            setattr(network, name, CpuConv2d(layer).set_train(layer.training))


class _SameConv2d(nn.Cell):
    """3x3 'same' convolution of an input and a weight, with gradients that are cheap on a CPU.

    The gradient for the input is a convolution itself: of the output's gradient with the kernel
    turned by 180 degrees and its channels swapped. oneDNN computes that block by block, while its
    own kernel for this gradient unfolds a whole image first (conv1_2 at 512x512: 604 MB, kept for
    good, and two to three times as long).
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = ops.Conv2D(out_channel=out_channels, kernel_size=3, pad_mode="same")
        self.input_grad = ops.Conv2D(out_channel=in_channels, kernel_size=3, pad_mode="same")
        self.weight_grad = Conv2DBackpropFilter(
            out_channel=out_channels, kernel_size=3, pad_mode="same"
        )
        self.matmul = ops.MatMul()
        self.reverse = Tensor(np.eye(9, dtype=np.float32)[::-1].copy())

    def construct(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.conv(x, weight)

    def gradients(self, x: Tensor, weight: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        o, i = weight.shape[:2]
        # The 9 numbers of every kernel in reverse order: a tenth of the time of `ops.flip`.
        turned = self.matmul(ops.reshape(weight, (o * i, 9)), self.reverse)
        turned = ops.transpose(ops.reshape(turned, (o, i, 3, 3)), (1, 0, 2, 3))
        return self.input_grad(dout, turned), self.weight_grad(dout, x, weight.shape)

    def bprop(self, x: Tensor, weight: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, ...]:
        return self.gradients(x, weight, dout)


class _NormRelu(nn.Cell):
    """BatchNorm with batch statistics and ReLU; the parts of the cells below.

    Those add the layer that follows: its input, as large as that of BatchNorm, is computed again in
    the backward pass instead of being kept from the forward pass.
    """

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        self.norm = ops.BatchNorm(is_training=True, epsilon=norm.eps, momentum=norm.momentum)
        self.norm_again = ops.BatchNorm(is_training=False, epsilon=norm.eps)
        self.norm_grad = BatchNormGrad(is_training=True, epsilon=norm.eps)
        self.relu = ops.ReLU()
        self.relu_grad = ReluGrad()

    def forward(
        self, z: Tensor, gamma: Tensor, beta: Tensor, moving_mean: Tensor, moving_variance: Tensor
    ) -> tuple[Tensor, ...]:
        y, _, _, mean, variance = self.norm(z, gamma, beta, moving_mean, moving_variance)
        return self.relu(y), mean, variance

    def again(
        self, z: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, dout: Tensor
    ) -> Tensor:
        # Not before the gradient has arrived: otherwise the forward pass computes and keeps it.
        z = ops.depend(z, dout)
        return self.relu(self.norm_again(z, gamma, beta, mean, variance)[0])

    def gradients(
        self, z: Tensor, gamma: Tensor, mean: Tensor, variance: Tensor, y: Tensor, dy: Tensor
    ) -> tuple[Tensor, ...]:
        dy = self.relu_grad(dy, y)
        dz, dgamma, dbeta = self.norm_grad(dy, z, gamma, mean, variance, variance)
        return dz, dgamma, dbeta, ops.zeros_like(mean), ops.zeros_like(variance)


class _NormReluConv2d(_NormRelu):
    """`_NormRelu`, then `_SameConv2d`; also returns the mean and variance of the batch."""

    def __init__(self, norm: nn.BatchNorm2d, conv: "CpuConv2d"):
        super().__init__(norm)
        self.conv = conv.same_conv

    def construct(
        self,
        z: Tensor,
        gamma: Tensor,
        beta: Tensor,
        moving_mean: Tensor,
        moving_variance: Tensor,
        weight: Tensor,
    ) -> tuple[Tensor, ...]:
        y, mean, variance = self.forward(z, gamma, beta, moving_mean, moving_variance)
        return self.conv(y, weight), mean, variance

    def bprop(
        self,
        z: Tensor,
        gamma: Tensor,
        beta: Tensor,
        moving_mean: Tensor,
        moving_variance: Tensor,
        weight: Tensor,
        out: tuple[Tensor, ...],
        dout: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        y = self.again(z, gamma, beta, out[1], out[2], dout[0])
        dy, dweight = self.conv.gradients(y, weight, dout[0])
        return self.gradients(z, gamma, out[1], out[2], y, dy) + (dweight,)


class _NormReluMaxPool2d(_NormRelu):
    """`_NormRelu`, then max pooling; also returns the mean and variance of the batch."""

    def __init__(self, norm: nn.BatchNorm2d, pool: nn.MaxPool2d):
        super().__init__(norm)
        self.pool = pool.max_pool
        self.pool_grad = MaxPoolGrad(pool.kernel_size, pool.stride, pool.pad_mode)

    def construct(
        self, z: Tensor, gamma: Tensor, beta: Tensor, moving_mean: Tensor, moving_variance: Tensor
    ) -> tuple[Tensor, ...]:
        y, mean, variance = self.forward(z, gamma, beta, moving_mean, moving_variance)
        return self.pool(y), mean, variance

    def bprop(
        self,
        z: Tensor,
        gamma: Tensor,
        beta: Tensor,
        moving_mean: Tensor,
        moving_variance: Tensor,
        out: tuple[Tensor, ...],
        dout: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        y = self.again(z, gamma, beta, out[1], out[2], dout[0])
        dy = self.pool_grad(y, out[0], dout[0])
        return self.gradients(z, gamma, out[1], out[2], y, dy)


class CpuConv2d(nn.Cell):
    """A 3x3 'same' convolution of stride 1, computed by `_SameConv2d`.

    Args:
        conv: the layer whose weight, and bias if it has one, it adopts.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.out_channels = conv.out_channels
        self.weight = conv.weight
        self.has_bias = conv.has_bias
        if self.has_bias:
            self.bias = conv.bias
            self.bias_add = ops.BiasAdd()
        self.same_conv = _SameConv2d(conv.in_channels, conv.out_channels)
        self.after_norm: nn.Cell = None

    def construct(self, x: Tensor) -> Tensor:
        y = self.same_conv(x, self.weight)
        return self.bias_add(y, self.bias) if self.has_bias else y

    def follow(self, norm: nn.BatchNorm2d) -> None:
        """Prepares for being computed together with the BatchNorm and ReLU before it."""
        self.after_norm = _NormReluConv2d(norm, self)

    def construct_after(self, z: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        return self.after_norm(
            z, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance, self.weight
        )[0]


class CpuMaxPool2d(nn.Cell):
    """Max pooling that can follow BatchNorm and ReLU in a `CpuStage`.

    Args:
        pool: the layer it replaces.
    """

    def __init__(self, pool: nn.MaxPool2d):
        super().__init__()
        self.pool = pool
        self.after_norm: nn.Cell = None

    def construct(self, x: Tensor) -> Tensor:
        return self.pool(x)

    def follow(self, norm: nn.BatchNorm2d) -> None:
        """Prepares for being computed together with the BatchNorm and ReLU before it."""
        self.after_norm = _NormReluMaxPool2d(norm, self.pool)

    def construct_after(self, z: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        return self.after_norm(z, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)[0]


class CpuStage(nn.SequentialCell):
    """(Convolution, BatchNorm, ReLU) any number of times, then pooling.

    In training each convolution's output is kept for the backward pass, and nothing else. A
    BatchNorm that does not use the statistics of the batch is computed as by `nn.SequentialCell`.

    Args:
        layers: plain ones, in the order above; convolutions and pooling are replaced.
    """

    def __init__(self, layers: Sequence[nn.Cell]):
        own = [*layers]
        own[::3] = [
            CpuConv2d(layer) if isinstance(layer, nn.Conv2d) else CpuMaxPool2d(layer)
            for layer in own[::3]
        ]
        super().__init__(own)
        for norm, follower in zip(own[1::3], own[3::3]):
            follower.follow(norm)

    def construct(self, x: Tensor) -> Tensor:
        x = self.cell_list[0](x)
        for i in range(1, len(self.cell_list), 3):
            norm, relu, follower = self.cell_list[i], self.cell_list[i + 1], self.cell_list[i + 2]
            batch_statistics = norm.use_batch_statistics
            if batch_statistics is None:
                batch_statistics = norm.training
            if batch_statistics:
                x = follower.construct_after(x, norm)
            else:
                x = follower(relu(norm(x)))
        return x


class CpuResize(nn.Cell):
    """Bilinear resize whose gradient takes two matrix products, a tenth of the kernel's time.

    Bilinear resize is linear and works on rows and columns apart, so that a resized image is
    R x C^T. The matrices R and C are what becomes of identity matrices, resized along one side.

    Args:
        resize: the operator that it computes, `ops.ResizeBilinearV2`.
    """

    def __init__(self, resize: ops.ResizeBilinearV2):
        super().__init__()
        self.resize = resize

    def construct(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return self.resize(x, size)

    def bprop(
        self, x: Tensor, size: tuple[int, int], out: Tensor, dout: Tensor
    ) -> tuple[Tensor, tuple[int, int]]:
        n, c, h, w = x.shape
        rows, columns = self.matrix(h, size[0]), self.matrix(w, size[1])
        dx = ops.matmul(ops.reshape(dout, (n * c * size[0], size[1])), columns)
        rows = ops.broadcast_to(ops.transpose(rows, (1, 0)), (n * c, h, size[0]))
        dx = ops.bmm(rows, ops.reshape(dx, (n * c, size[0], w)))
        return ops.reshape(dx, (n, c, h, w)), size

    def matrix(self, before: int, after: int) -> Tensor:
        """Returns (after, before): each number after the resize, by those before it."""
        eye = ops.reshape(ops.eye(before, before, ms.float32), (1, 1, before, before))
        return ops.reshape(self.resize(eye, (after, before)), (after, before))


class MatMulConv2d(nn.Cell):
    """A 'same' or 'valid' convolution of stride 1, in training computed as one matrix product.

    On a CPU, oneDNN computes a convolution's weight gradient with its reference kernel, some
    hundred times slower, once the weight times the number of threads outgrows its scratch memory.
    conv6 (4096x512x7x7, 411 MB) does; conv7 does not, but keeps 537 MB of it. The matrix product of
    the flattened weight and the unfolded patches needs none. The parameter stays one tensor
    (out_channels, in_channels, k, k).

    Args:
        conv: the layer whose weight, and bias if it has one, it adopts.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.out_channels = conv.out_channels
        self.kernel_size = conv.kernel_size
        self.padding = conv.kernel_size[0] // 2 if conv.pad_mode == "same" else 0
        self.weight = conv.weight
        self.has_bias = conv.has_bias
        if self.has_bias:
            self.bias = conv.bias
            self.bias_add = ops.BiasAdd()
        self.conv2d = conv.conv2d
        self.matmul = ops.MatMul()

    def construct(self, x: Tensor) -> Tensor:
        y = self.product(x) if self.training else self.conv2d(x, self.weight)
        return self.bias_add(y, self.bias) if self.has_bias else y

    def product(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        k = self.kernel_size[0]
        h, w = h + 2 * self.padding - k + 1, w + 2 * self.padding - k + 1
        patches = ops.unfold(x, k, padding=self.padding)  # n, c*k*k, h*w
        # Images side by side, and one after the other again, by splitting and joining:
        # transposing would keep 8 bytes of indices per number.
        patches = ops.reshape(ops.concat(ops.split(patches, 1), 2), (c * k * k, n * h * w))
        weight = ops.reshape(self.weight, (self.out_channels, c * k * k))
        y = self.matmul(weight, patches)  # out_channels, n*h*w
        return ops.reshape(ops.concat(ops.split(y, h * w, 1)), (n, self.out_channels, h, w))

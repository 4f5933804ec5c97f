"""Layers of the network as they are computed on a CPU.

They hold the parameters of the layers they stand for, and give the same numbers to rounding.
"""

import numpy as np
from mindspore import Tensor, nn, ops
from mindspore.ops.operations._grad_ops import (
    BatchNormGrad,
    Conv2DBackpropFilter,
    MaxPoolGrad,
    ReluGrad,
)

__all__ = ["CpuConv2d", "CpuMaxPool2d", "CpuStage", "MatMulConv2d"]


class _SameConv2d(nn.Cell):
    """3x3 'same' convolution of an input and a weight, with gradients that are cheap on a CPU.

    The gradient for the input is a convolution itself: of the output's gradient with the kernel
    turned by 180 degrees and its channels swapped. oneDNN computes that block by block, while its
    own kernel for this gradient unfolds a whole image first (conv1_2 at 512x512: 604 MB, kept for
    good, and two to three times as long).
    """

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = ops.Conv2D(out_channel=out_channels, kernel_size=3, pad_mode="same")
        self.input_grad = ops.Conv2D(out_channel=in_channels, kernel_size=3, pad_mode="same")
        self.weight_grad = Conv2DBackpropFilter(
            out_channel=out_channels, kernel_size=3, pad_mode="same"
        )
        self.matmul = ops.MatMul()
        self.reverse = Tensor(np.eye(9, dtype=np.float32)[::-1].copy())

    def construct(self, x, weight):
        return self.conv(x, weight)

    def gradients(self, x, weight, dout):
        o, i = weight.shape[:2]
        # The 9 numbers of every kernel in reverse order: a tenth of the time of `ops.flip`.
        turned = self.matmul(ops.reshape(weight, (o * i, 9)), self.reverse)
        turned = ops.transpose(ops.reshape(turned, (o, i, 3, 3)), (1, 0, 2, 3))
        return self.input_grad(dout, turned), self.weight_grad(dout, x, weight.shape)

    def bprop(self, x, weight, out, dout):
        return self.gradients(x, weight, dout)


class _NormRelu(nn.Cell):
    """BatchNorm of batch statistics and ReLU, of which only the input is kept for the gradient.

    The parts that the cells below are made of: these go on to the layer that follows, so that what
    it takes in, as large as what BatchNorm takes in, is computed anew in the backward pass and not
    kept from the forward pass.
    """

    def __init__(self, norm):
        super().__init__()
        self.norm = ops.BatchNorm(is_training=True, epsilon=norm.eps, momentum=norm.momentum)
        self.norm_again = ops.BatchNorm(is_training=False, epsilon=norm.eps)
        self.norm_grad = BatchNormGrad(is_training=True, epsilon=norm.eps)
        self.relu = ops.ReLU()
        self.relu_grad = ReluGrad()

    def forward(self, z, gamma, beta, moving_mean, moving_variance):
        y, _, _, mean, variance = self.norm(z, gamma, beta, moving_mean, moving_variance)
        return self.relu(y), mean, variance

    def again(self, z, gamma, beta, mean, variance, dout):
        # Not before the gradient has arrived: else it is done in the forward pass, and kept.
        z = ops.depend(z, dout)
        return self.relu(self.norm_again(z, gamma, beta, mean, variance)[0])

    def gradients(self, z, gamma, mean, variance, y, dy):
        dy = self.relu_grad(dy, y)
        dz, dgamma, dbeta = self.norm_grad(dy, z, gamma, mean, variance, variance)
        return dz, dgamma, dbeta, ops.zeros_like(mean), ops.zeros_like(variance)


class _NormReluConv2d(_NormRelu):
    """`_NormRelu`, then `_SameConv2d`; returns the mean and variance of the batch too."""

    def __init__(self, norm, conv):
        super().__init__(norm)
        self.conv = conv.same_conv

    def construct(self, z, gamma, beta, moving_mean, moving_variance, weight):
        y, mean, variance = self.forward(z, gamma, beta, moving_mean, moving_variance)
        return self.conv(y, weight), mean, variance

    def bprop(self, z, gamma, beta, moving_mean, moving_variance, weight, out, dout):
        y = self.again(z, gamma, beta, out[1], out[2], dout[0])
        dy, dweight = self.conv.gradients(y, weight, dout[0])
        return self.gradients(z, gamma, out[1], out[2], y, dy) + (dweight,)


class _NormReluMaxPool2d(_NormRelu):
    """`_NormRelu`, then max pooling; returns the mean and variance of the batch too."""

    def __init__(self, norm, pool):
        super().__init__(norm)
        self.pool = pool.max_pool
        self.pool_grad = MaxPoolGrad(pool.kernel_size, pool.stride, pool.pad_mode)

    def construct(self, z, gamma, beta, moving_mean, moving_variance):
        y, mean, variance = self.forward(z, gamma, beta, moving_mean, moving_variance)
        return self.pool(y), mean, variance

    def bprop(self, z, gamma, beta, moving_mean, moving_variance, out, dout):
        y = self.again(z, gamma, beta, out[1], out[2], dout[0])
        dy = self.pool_grad(y, out[0], dout[0])
        return self.gradients(z, gamma, out[1], out[2], y, dy)


class CpuConv2d(nn.Conv2d):
    """`nn.Conv2d`, 3x3, stride 1, 'same', computed by `_SameConv2d`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.same_conv = _SameConv2d(self.in_channels, self.out_channels)
        self.after_norm = None

    def construct(self, x):
        return self.same_conv(x, self.weight)

    def follow(self, norm):
        self.after_norm = _NormReluConv2d(norm, self)

    def construct_after(self, z, norm):
        return self.after_norm(
            z, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance, self.weight
        )[0]


class CpuMaxPool2d(nn.MaxPool2d):
    """`nn.MaxPool2d` that can stand behind BatchNorm and ReLU in a `CpuStage`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.after_norm = None

    def follow(self, norm):
        self.after_norm = _NormReluMaxPool2d(norm, self)

    def construct_after(self, z, norm):
        return self.after_norm(z, norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)[0]


class CpuStage(nn.SequentialCell):
    """Convolution, then (BatchNorm, ReLU, convolution or at last pooling) any number of times.

    In training it keeps one tensor a layer for the gradients, the convolution's output, not two.
    A BatchNorm that does not use the statistics of the batch is computed as by `nn.SequentialCell`.
    """

    def __init__(self, layers):
        super().__init__(layers)
        for norm, follower in zip(layers[1::3], layers[3::3]):
            follower.follow(norm)

    def construct(self, x):
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


class MatMulConv2d(nn.Conv2d):
    """The stride-1 'same' convolution of `nn.Conv2d`, in training computed as one matrix product.

    On a CPU, oneDNN computes a convolution's weight gradient with its reference kernel, some
    hundred times slower, once the weight times the number of threads outgrows its scratch memory.
    conv6 (4096x512x7x7, 411 MB) does; conv7 does not, but keeps 537 MB of it. The matrix product of
    the flattened weight and the unfolded patches needs none. The parameter stays one tensor
    (out_channels, in_channels, k, k).
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.matmul = ops.MatMul()

    def construct(self, x):
        if not self.training:
            return self.conv2d(x, self.weight)
        n, c, h, w = x.shape
        k = self.kernel_size[0]
        patches = ops.unfold(x, k, padding=k // 2)  # n, c*k*k, h*w
        # Images side by side, and one after the other again, by splitting and joining:
        # transposing would keep 8 bytes of indices a number.
        patches = ops.reshape(ops.concat(ops.split(patches, 1), 2), (c * k * k, n * h * w))
        weight = ops.reshape(self.weight, (self.out_channels, c * k * k))
        y = self.matmul(weight, patches)  # out_channels, n*h*w
        return ops.reshape(ops.concat(ops.split(y, h * w, 1)), (n, self.out_channels, h, w))

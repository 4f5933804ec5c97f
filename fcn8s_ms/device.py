"""Device, execution mode, precision and kernels that MindSpore runs with."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, flag

if TYPE_CHECKING:
    from argparse import ArgumentParser, _ArgumentGroup

__all__ = [
    "AMP_LEVELS",
    "CONV_ALGORITHMS",
    "DEVICES",
    "FLAGS",
    "MODES",
    "add_arguments",
    "available_devices",
    "choose",
    "configure",
    "memory",
    "model_arguments",
]

DEVICES = ("auto", "CPU", "GPU", "Ascend")
MODES = ("graph", "pynative")
AMP_LEVELS = ("O0", "O2")

CONV_ALGORITHMS = {
    "least-memory": ("implicit_gemm", "algo_1", "algo_1"),
    "performance": ("performance", "performance", "performance"),
    "normal": ("normal", "normal", "normal"),
}
"""cuDNN's algorithms for a convolution, its data gradient and its weight gradient.

Those of `least-memory` need little or no scratch memory and return the same bits in every run.
"""

FLAGS: dict[str, dict[str, Any]] = {
    "device": {
        "default": "auto",
        "metavar": "|".join(DEVICES),
        "help": "Compute on this device; auto takes the first of Ascend, GPU and CPU that is "
        "available (default: %(default)s).",
    },
    "device_id": {
        "default": 0,
        "help": "Take the GPU or Ascend of this number, where there are several (default: "
        "%(default)s; msrun tells each process).",
    },
    "mode": {
        "default": "graph",
        "metavar": "|".join(MODES),
        "help": "Run the network compiled, or operator by operator (default: %(default)s).",
    },
}
"""Default and help of the flags of `configure` that every program has."""

logger = logging.getLogger(__name__)

# Both spellings of the same setting of oneDNN; one that the user has set stays.
_ISA_VARIABLES = ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")


def add_arguments(parser: "ArgumentParser | _ArgumentGroup") -> None:
    """Adds the flags in `FLAGS` to an argparse parser or group."""
    for name, options in FLAGS.items():
        parser.add_argument(flag(name), type=type(options["default"]), **options)


def available_devices() -> list[str]:
    """Returns the device targets that can be used here, the fastest first."""
    import mindspore as ms

    context = ms.device_context
    candidates = (("Ascend", context.ascend), ("GPU", context.gpu), ("CPU", context.cpu))
    # MindSpore logs a page of warnings about every device that it does not find.
    logging.disable(logging.WARNING)
    try:
        return [name for name, module in candidates if module.is_available()]
    finally:
        logging.disable(logging.NOTSET)


def choose(device: str) -> str:
    """Returns the device target that a name stands for.

    Args:
        device: 'CPU', 'GPU', 'Ascend', or 'auto' for the first available of Ascend, GPU, CPU.

    Raises:
        InputError: the device is unknown or not available here.
    """
    if device not in DEVICES:
        raise InputError(f"device {device!r} is unknown; choose one of {', '.join(DEVICES)}")
    available = available_devices()
    target = available[0] if device == "auto" else device
    if target not in available:
        raise InputError(
            f"device {target} is not available here; available: {', '.join(available)}. Check the "
            "driver and the MindSpore installation with: "
            f"python -c \"import mindspore as ms; ms.set_device('{target}'); ms.run_check()\""
        )
    return target


def _has_avx512() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "avx512f" in cpuinfo.read_text()


def _needs_isa_cap(
    mindspore_version: str, has_avx512: bool, environment: Mapping[str, str]
) -> bool:
    """Returns whether convolutions would fall back to oneDNN's reference kernel.

    oneDNN 3.x, which MindSpore includes from 2.9 on, does so on AVX-512 CPUs for the weight layout
    that MindSpore passes, at a hundredth of the speed; its AVX2 kernels are fine.
    """
    major, minor = (int(part) for part in mindspore_version.split(".")[:2])
    chosen_by_user = any(variable in environment for variable in _ISA_VARIABLES)
    return (major, minor) >= (2, 9) and has_avx512 and not chosen_by_user


def configure(
    device: str = "auto",
    *,
    device_id: int | None = 0,
    mode: str = "graph",
    conv_algo: str | None = None,
    allow_tf32: bool | None = None,
) -> str:
    """Sets MindSpore's device and mode; call it before the first operator.

    Args:
        device: one of the values `choose` accepts.
        device_id: number of the GPU or Ascend, where there are several; None for the one that the
            launcher of several processes assigns to this one.
        mode: 'graph' (compiled) or 'pynative' (operator by operator, for debugging).
        conv_algo: key of `CONV_ALGORITHMS`, for a GPU; None keeps MindSpore's default.
        allow_tf32: whether convolutions on a GPU may use TF32; None keeps MindSpore's default.

    Returns:
        The device target that was set.

    Raises:
        InputError: the device is unknown or not available here.
    """
    import mindspore as ms

    if mode not in MODES:
        raise InputError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
    target = choose(device)
    if target == "CPU" and _needs_isa_cap(ms.__version__, _has_avx512(), os.environ):
        os.environ["DNNL_MAX_CPU_ISA"] = "AVX2"
        logger.info("DNNL_MAX_CPU_ISA=AVX2: oneDNN's AVX-512 convolutions are slow here")

    ms.set_context(mode=ms.GRAPH_MODE if mode == "graph" else ms.PYNATIVE_MODE)
    if target == "CPU":
        device_id = 0
    ms.set_device(target, *([] if device_id is None else [device_id]))
    if target == "GPU":
        _configure_cudnn(conv_algo, allow_tf32)
    elif conv_algo is not None or allow_tf32 is not None:
        logger.warning(
            "--conv-algo and --allow-tf32 are for a GPU; on %s they have no effect", target
        )
    if target == "CPU" and mode == "pynative":
        # Passing operators from thread to thread costs time, and on a CPU hides none.
        ms.runtime.launch_blocking()
    return target


def _configure_cudnn(conv_algo: str | None, allow_tf32: bool | None) -> None:
    from mindspore.device_context.gpu import op_precision, op_tuning

    if conv_algo is not None:
        forward, data_gradient, weight_gradient = CONV_ALGORITHMS[conv_algo]
        op_tuning.conv_fprop_algo(forward)
        op_tuning.conv_dgrad_algo(data_gradient)
        op_tuning.conv_wgrad_algo(weight_gradient)
    if allow_tf32 is not None:
        op_precision.conv_allow_tf32(allow_tf32)


def memory(target: str) -> dict[str, float]:
    """Returns the memory in use, in GB of 10**9 bytes.

    Args:
        target: device target as `configure` returns it.

    Returns:
        `memory_gb`: memory of this process, where the system reports it. On a GPU or Ascend also
        `device_memory_gb`: the peak of what MindSpore has allocated there.
    """
    used = {}
    statm = Path("/proc/self/statm")
    if statm.is_file():
        resident_pages = int(statm.read_text().split()[1])
        used["memory_gb"] = round(resident_pages * os.sysconf("SC_PAGE_SIZE") / 1e9, 3)
    if target != "CPU":
        import mindspore as ms

        used["device_memory_gb"] = round(ms.runtime.max_memory_allocated() / 1e9, 3)
    return used


def model_arguments(
    target: str,
    amp: str | None = None,
    *,
    loss_scale: float = 2.0**16,
    loss_scale_factor: int = 2,
    loss_scale_window: int = 2000,
) -> dict[str, Any]:
    """Returns the precision arguments of `mindspore.train.Model`.

    With O2 the matrix products run in float16 and BatchNorm in float32, and the loss is multiplied
    by an adaptive loss scale: gradients below 6e-8 would be 0 in float16. On Ascend the loss is
    scaled with O0 too, as in the tutorial.

    Args:
        target: device target as `configure` returns it.
        amp: one of `AMP_LEVELS`; None for O2 on Ascend, else O0.
        loss_scale: initial loss scale.
        loss_scale_factor: divides the scale after a step whose gradient overflows, and multiplies
            it after a window without such a step.
        loss_scale_window: length of that window, in steps.

    Returns:
        Keyword arguments `amp_level` and `loss_scale_manager`; none for plain float32.

    Raises:
        InputError: O2 on a CPU.
    """
    if amp is None:
        amp = "O2" if target == "Ascend" else "O0"
    if target == "CPU" and amp != "O0":
        raise InputError(
            f"--amp {amp} needs a GPU or Ascend; a CPU has no float16 convolutions: leave it out"
        )
    if amp == "O0" and target != "Ascend":
        return {}
    from mindspore.amp import DynamicLossScaleManager

    manager = DynamicLossScaleManager(
        init_loss_scale=loss_scale,
        scale_factor=loss_scale_factor,
        scale_window=loss_scale_window,
    )
    return {"amp_level": amp, "loss_scale_manager": manager}

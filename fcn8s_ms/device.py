"""Which device MindSpore runs on, in which mode, and with which CPU kernels."""

import logging
import os
from pathlib import Path

from .errors import InputError

__all__ = [
    "DEVICES",
    "MODES",
    "add_arguments",
    "available_cpus",
    "available_devices",
    "configure",
    "model_arguments",
]

DEVICES = ("auto", "CPU", "GPU", "Ascend")
MODES = ("graph", "pynative")

logger = logging.getLogger(__name__)

# What either spelling of oneDNN's variable names: if the user set one, it stays.
_ISA_VARIABLES = ("DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA")


def add_arguments(parser) -> None:
    """Adds the flags of `configure` to an argparse parser or group."""
    add = parser.add_argument
    add("--device", default="auto", help=f"one of {', '.join(DEVICES)} (default: %(default)s)")
    add(
        "--device-id",
        type=int,
        default=0,
        help="which of several GPUs or Ascends (default: %(default)s)",
    )
    add("--mode", default="graph", help=f"one of {', '.join(MODES)} (default: %(default)s)")


def available_cpus() -> int:
    """Number of CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(len(os.sched_getaffinity(0)), 1)
    return os.cpu_count() or 1


def available_devices() -> list[str]:
    """The device targets that can be used here, the fastest first."""
    import mindspore as ms

    context = ms.device_context
    candidates = (("Ascend", context.ascend), ("GPU", context.gpu), ("CPU", context.cpu))
    # MindSpore logs a page of warnings for every device that it does not find.
    logging.disable(logging.WARNING)
    try:
        return [name for name, module in candidates if module.is_available()]
    finally:
        logging.disable(logging.NOTSET)


def _has_avx512() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.is_file() and "avx512f" in cpuinfo.read_text()


def _needs_isa_cap(mindspore_version: str, has_avx512: bool, environment) -> bool:
    """Whether convolutions would fall to oneDNN's reference kernel.

    oneDNN 3.x, which MindSpore carries from 2.9 on, does that on AVX-512 CPUs for the weight layout
    MindSpore passes, at a hundredth of the speed; its AVX2 kernels are fine.
    """
    major, minor = (int(part) for part in mindspore_version.split(".")[:2])
    chosen_by_user = any(variable in environment for variable in _ISA_VARIABLES)
    return (major, minor) >= (2, 9) and has_avx512 and not chosen_by_user


def configure(device: str = "auto", *, device_id: int = 0, mode: str = "graph") -> str:
    """Sets MindSpore's device and mode; call it before the first operator.

    Args:
        device: 'CPU', 'GPU', 'Ascend', or 'auto' for the first available of Ascend, GPU, CPU.
        device_id: which of several GPUs or Ascends.
        mode: 'graph' (compiled) or 'pynative' (operator by operator, for debugging).

    Returns:
        The device target that was set.

    Raises:
        InputError: the device is unknown or not available here.
    """
    import mindspore as ms

    if mode not in MODES:
        raise InputError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
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
    if target == "CPU" and _needs_isa_cap(ms.__version__, _has_avx512(), os.environ):
        os.environ["DNNL_MAX_CPU_ISA"] = "AVX2"
        logger.info("DNNL_MAX_CPU_ISA=AVX2: oneDNN's AVX-512 convolutions are slow here")

    ms.set_context(mode=ms.GRAPH_MODE if mode == "graph" else ms.PYNATIVE_MODE)
    ms.set_device(target, device_id if target != "CPU" else 0)
    return target


def model_arguments(target: str) -> dict:
    """What `mindspore.train.Model` is given beside network, loss and optimizer.

    On Ascend the matrix products run in float16 (`amp_level="O2"`, BatchNorm stays in float32), so
    the loss is scaled, by a factor that adapts. Elsewhere everything is float32.

    Args:
        target: of `configure`.

    Returns:
        Keyword arguments.
    """
    if target != "Ascend":
        return {}
    from mindspore.amp import DynamicLossScaleManager

    manager = DynamicLossScaleManager(init_loss_scale=2**16, scale_factor=2, scale_window=2000)
    return {"amp_level": "O2", "loss_scale_manager": manager}

import logging
import subprocess
import sys

import mindspore as ms
import pytest

from fcn8s_ms import device
from fcn8s_ms.errors import InputError

from .conftest import clean_environment


@pytest.mark.parametrize(
    ("version", "avx512", "environment", "capped"),
    [
        ("2.10.0", True, {}, True),
        ("2.9.0", True, {"PATH": "/bin"}, True),
        ("2.8.0", True, {}, False),
        ("2.7.1.post1", True, {}, False),
        ("2.10.0", False, {}, False),
        ("2.10.0", True, {"DNNL_MAX_CPU_ISA": "AVX512_CORE"}, False),
        ("2.10.0", True, {"ONEDNN_MAX_CPU_ISA": "ALL"}, False),
    ],
)
def test_kernels_are_capped_only_where_needed(version, avx512, environment, capped):
    assert device._needs_isa_cap(version, avx512, environment) is capped


def test_configure_sets_the_cap(monkeypatch):
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(device, "_needs_isa_cap", lambda *arguments: True)
    device.configure("CPU")
    assert device.os.environ["DNNL_MAX_CPU_ISA"] == "AVX2"


@pytest.fixture
def recorded(monkeypatch):
    """Records what MindSpore is asked for, on a machine that has what `available` names."""
    calls, available = [], ["Ascend", "GPU", "CPU"]
    monkeypatch.setattr(device, "available_devices", lambda: available)
    monkeypatch.setattr(ms, "set_context", lambda **kwargs: calls.append(("set_context", kwargs)))
    monkeypatch.setattr(ms, "set_device", lambda *args: calls.append(("set_device", args)))
    return calls, available


@pytest.mark.parametrize(
    ("asked", "present", "target"),
    [
        ("auto", ["Ascend", "GPU", "CPU"], "Ascend"),
        ("auto", ["GPU", "CPU"], "GPU"),
        ("auto", ["CPU"], "CPU"),
        ("GPU", ["Ascend", "GPU", "CPU"], "GPU"),
    ],
)
def test_choice_of_device(recorded, asked, present, target):
    calls, available = recorded
    available[:] = present
    assert device.configure(asked, device_id=3) == target
    assert ("set_context", {"mode": ms.GRAPH_MODE}) in calls
    assert calls[-1] == ("set_device", (target, 0 if target == "CPU" else 3))


def test_pynative_mode(recorded):
    calls, _ = recorded
    device.configure("Ascend", mode="pynative")
    assert calls[0] == ("set_context", {"mode": ms.PYNATIVE_MODE})


def test_unavailable_device_names_what_there_is(recorded):
    _, available = recorded
    available[:] = ["CPU"]
    with pytest.raises(InputError, match="GPU is not available here; available: CPU.*run_check"):
        device.configure("GPU")


@pytest.mark.parametrize("arguments", [{"device": "TPU"}, {"mode": "eager"}])
def test_unknown_choice(arguments):
    with pytest.raises(InputError, match="is unknown; choose one of"):
        device.configure(**arguments)


def test_availability_check_is_quiet_and_leaves_logging_on(capfd):
    assert device.available_devices()[-1] == "CPU"
    assert capfd.readouterr().err == ""
    assert logging.getLogger().isEnabledFor(logging.WARNING)


def test_configuring_warns_of_nothing(tmp_path):
    script = tmp_path / "configure.py"
    script.write_text("from fcn8s_ms.device import configure\nprint(configure('CPU'))\n")
    done = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning:__main__", str(script)],
        env=clean_environment(),
        capture_output=True,
        text=True,
    )
    assert done.stdout == "CPU\n"
    assert "deprecat" not in done.stderr.lower()
    assert "[WARNING]" not in done.stderr


def test_ascend_trains_in_half_precision_with_a_scaled_loss(monkeypatch):
    made = []
    monkeypatch.setattr(
        "mindspore.amp.DynamicLossScaleManager", lambda **kwargs: made.append(kwargs) or "manager"
    )
    assert device.model_arguments("Ascend") == {
        "amp_level": "O2",
        "loss_scale_manager": "manager",
    }
    assert made == [{"init_loss_scale": 65536, "scale_factor": 2, "scale_window": 2000}]


@pytest.mark.parametrize("target", ["CPU", "GPU"])
def test_cpu_and_gpu_train_in_single_precision(target):
    assert device.model_arguments(target) == {}


def test_network_asks_for_the_plain_convolution_off_cpu(monkeypatch):
    from mindspore import nn

    from fcn8s_ms.model import FCN8s

    from .conftest import TINY

    monkeypatch.setattr(ms, "get_context", lambda name: "Ascend")
    assert type(FCN8s(3, **TINY).conv6[0]) is nn.Conv2d

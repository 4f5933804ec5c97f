import logging
import subprocess
import sys

import mindspore as ms
import pytest

from fcn8s_ms import device
from fcn8s_ms.errors import InputError

from .helpers import clean_environment


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
    monkeypatch.setattr(ms.runtime, "launch_blocking", lambda: calls.append("launch_blocking"))
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
    assert "launch_blocking" not in calls
    device.configure("CPU")
    assert "launch_blocking" not in calls
    device.configure("CPU", mode="pynative")
    assert calls[-1] == "launch_blocking"


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


@pytest.fixture
def scalings(monkeypatch):
    """Records the loss scale managers that are made."""
    made = []
    monkeypatch.setattr(
        "mindspore.amp.DynamicLossScaleManager", lambda **kwargs: made.append(kwargs) or "manager"
    )
    return made


def test_ascend_trains_in_half_precision_with_a_scaled_loss(scalings):
    assert device.model_arguments("Ascend") == {
        "amp_level": "O2",
        "loss_scale_manager": "manager",
    }
    assert scalings == [{"init_loss_scale": 65536, "scale_factor": 2, "scale_window": 2000}]


def test_tutorials_precision_on_ascend(scalings):
    """Single precision with a scaled loss; its 4 and 3000 as they were meant."""
    found = device.model_arguments(
        "Ascend", "O0", loss_scale=1024, loss_scale_factor=4, loss_scale_window=3000
    )
    assert found == {"amp_level": "O0", "loss_scale_manager": "manager"}
    assert scalings == [{"init_loss_scale": 1024, "scale_factor": 4, "scale_window": 3000}]


def test_gpu_trains_in_half_precision_on_request(scalings):
    found = device.model_arguments("GPU", "O2")
    assert found == {"amp_level": "O2", "loss_scale_manager": "manager"}
    assert len(scalings) == 1


@pytest.mark.parametrize("target", ["CPU", "GPU"])
@pytest.mark.parametrize("amp", [None, "O0"])
def test_cpu_and_gpu_train_in_single_precision(target, amp):
    assert device.model_arguments(target, amp) == {}


def test_half_precision_on_a_cpu():
    with pytest.raises(InputError, match="--amp O2 needs a GPU or Ascend"):
        device.model_arguments("CPU", "O2")


def test_manager_takes_the_arguments_as_they_are_meant():
    manager = device.model_arguments("GPU", "O2", loss_scale=64, loss_scale_factor=4)
    cell = manager["loss_scale_manager"].get_update_cell()
    assert cell.get_loss_scale() == 64
    assert (cell.scale_factor.asnumpy(), cell.scale_window) == (4, 2000)


@pytest.fixture
def cudnn(monkeypatch):
    """Records what is asked of MindSpore's interface to cuDNN."""
    from mindspore.device_context.gpu import op_precision, op_tuning

    calls = {}
    for module, name in (
        (op_tuning, "conv_fprop_algo"),
        (op_tuning, "conv_dgrad_algo"),
        (op_tuning, "conv_wgrad_algo"),
        (op_precision, "conv_allow_tf32"),
    ):
        monkeypatch.setattr(module, name, lambda value, name=name: calls.update({name: value}))
    return calls


@pytest.mark.parametrize(
    ("asked", "algorithms"),
    [
        ("least-memory", ("implicit_gemm", "algo_1", "algo_1")),
        ("performance", ("performance",) * 3),
        ("normal", ("normal",) * 3),
    ],
)
def test_convolution_algorithms_on_a_gpu(recorded, cudnn, asked, algorithms):
    device.configure("GPU", conv_algo=asked, allow_tf32=False)
    assert cudnn == {
        **dict(zip(("conv_fprop_algo", "conv_dgrad_algo", "conv_wgrad_algo"), algorithms)),
        "conv_allow_tf32": False,
    }


def test_cudnn_is_left_alone_unless_asked(recorded, cudnn):
    device.configure("GPU")
    assert cudnn == {}


def test_cudnn_flags_elsewhere_do_nothing_but_warn(recorded, cudnn, caplog):
    device.configure("Ascend", conv_algo="least-memory")
    device.configure("CPU", allow_tf32=True)
    assert cudnn == {}
    assert (
        "on Ascend they have no effect" in caplog.text
        and "on CPU they have no effect" in caplog.text
    )


def test_algorithms_are_those_that_mindspore_knows():
    """Off a GPU its functions take anything the first time, so their lists are read."""
    import inspect

    from mindspore.device_context.gpu import op_tuning

    functions = (op_tuning.conv_fprop_algo, op_tuning.conv_dgrad_algo, op_tuning.conv_wgrad_algo)
    for algorithms in device.CONV_ALGORITHMS.values():
        for function, algorithm in zip(functions, algorithms):
            assert f'"{algorithm}"' in inspect.getsource(function)


def test_memory_in_use(monkeypatch):
    import resource

    used = device.memory("CPU")
    assert set(used) == {"memory_gb"}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    assert 0.05 < used["memory_gb"] <= peak + 0.01
    monkeypatch.setattr(ms.runtime, "max_memory_allocated", lambda: 7_000_000_000)
    assert device.memory("GPU")["device_memory_gb"] == 7


def test_network_asks_for_the_plain_convolution_off_cpu(monkeypatch):
    from mindspore import nn

    from fcn8s_ms.model import FCN8s

    from .helpers import TINY

    monkeypatch.setattr(ms, "get_context", lambda name: "Ascend")
    assert type(FCN8s(3, **TINY).conv6[0]) is nn.Conv2d

"""Makes networks, sample and trainings small in the processes that find this on PYTHONPATH.

Python imports a module of this name at its start. It changes modules of the package right after
they are imported, so that commands can be tried word for word within seconds.
"""

import dataclasses
import functools
import importlib.abc
import importlib.util
import os
import sys

WIDTHS, FC_WIDTH = (4, 4, 8, 8, 8), 16
LONGEST = {"epochs": 2, "steps": 4, "crop_size": 64, "val_every": 1}


def _shrink_networks(model):
    for arch, network_class in model.NETWORKS.items():
        model.NETWORKS[arch] = functools.partial(network_class, widths=WIDTHS, fc_width=FC_WIDTH)


def _shrink_sample(sample):
    sample.write_dataset.__kwdefaults__.update(num_train=8, num_val=2)


def _shrink_trainings(arguments):
    parse = arguments.parse

    def parse_small(argv=None):
        config = parse(argv)
        given = {name: getattr(config, name) for name in LONGEST}
        return dataclasses.replace(
            config,
            **{
                name: min(value, LONGEST[name])
                for name, value in given.items()
                if value is not None
            },
        )

    arguments.parse = parse_small


def _redirect_downloads(fetch):
    if "FCN8S_MS_TEST_SERVER" in os.environ:
        fetch.BASE_URL = os.environ["FCN8S_MS_TEST_SERVER"]


CHANGES = {
    "fcn8s_ms.model": _shrink_networks,
    "fcn8s_ms.records.demo": _shrink_sample,
    "fcn8s_ms.training.arguments": _shrink_trainings,
    "fcn8s_ms.fetch": _redirect_downloads,
}


class _Changer(importlib.abc.MetaPathFinder):
    def __init__(self):
        self.busy = False

    def find_spec(self, name, path, target=None):
        if name not in CHANGES or self.busy:
            return None
        self.busy = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy = False
        run = spec.loader.exec_module

        def run_and_change(module):
            run(module)
            CHANGES[name](module)

        spec.loader.exec_module = run_and_change
        return spec


sys.meta_path.insert(0, _Changer())

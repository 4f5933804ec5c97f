"""Makes networks, sample and trainings small in the processes that find this on PYTHONPATH.

Python imports a module of this name at its start. It changes modules of the package right after
they are imported, so that commands can be tried word for word within seconds.
"""

import importlib.abc
import importlib.util
import os
import sys

TINY = {"widths": [4, 4, 8, 8, 8], "fc_width": 16}
LONGEST = {"epochs": 2, "steps": 4, "crop_size": 64, "val_every": 1}


def _shrink_sample(sample):
    sample.write_dataset.__kwdefaults__.update(num_train=8, num_val=2)


def _shrink_trainings(arguments):
    get_parser, parse = arguments.get_parser, arguments.parse

    def with_tiny_defaults():
        parser = get_parser()
        parser.set_defaults(**TINY)
        return parser

    def parse_small(argv=None):
        options = parse(argv).flat()
        for name, longest in LONGEST.items():
            if options[name] is not None:
                options[name] = min(options[name], longest)
        return arguments.Config.from_flat(options)

    arguments.get_parser, arguments.parse = with_tiny_defaults, parse_small


def _redirect_downloads(fetch):
    if "FCN8S_MS_TEST_SERVER" in os.environ:
        fetch.BASE_URL = os.environ["FCN8S_MS_TEST_SERVER"]


CHANGES = {
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

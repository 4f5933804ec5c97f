"""What the processes of `test_distributed` run: `python rank_program.py FOLDER TASK …`.

`train` is the training program with a tiny network, once for every list of arguments; what weights
a rank ends with goes into the folder. `check` tries what the ranks tell each other.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fcn8s_ms import device, evaluation, train
from fcn8s_ms.distributed import agreement
from fcn8s_ms.distributed.ranks import Ranks, is_scheduler, run_scheduler
from fcn8s_ms.training import network

from ..helpers import use_tiny_networks


def run_training(folder: Path, lists: list[list[str]]) -> None:
    networks, build = [], network.build_network

    def build_and_keep(*arguments, **more):
        built = build(*arguments, **more)
        networks.append(built[0])
        return built

    network.build_network = build_and_keep
    for number, arguments in enumerate(lists):
        train.main(arguments)
        weights = {p.name: p.asnumpy() for p in networks[-1].get_parameters()}
        np.savez(folder / f"weights_{number}_{device.os.environ['RANK_ID']}.npz", **weights)


class Guess:
    """A predictor whose class ids follow from the image, however it comes."""

    def many(self, images, batch_size, on_error=None, pool=None):
        for sample, image in images:
            yield sample, image[:, :, 1] % 21


def check(folder: Path, records: list[str]) -> None:
    """What a rank hears from the others, and its scores of every record, as JSON."""
    import mindspore as ms

    found = {}
    for mode in device.MODES if not is_scheduler() else ():
        device.configure("CPU", device_id=None, mode=mode)
        with Ranks.start("CPU") as ranks:
            rank = ranks.rank
            number, share = 2**40 + rank, (rank + 1) / 3
            parameters = [
                ms.Parameter(ms.Tensor(np.full(shape, rank + 1.5), dtype), name=f"p{dtype}")
                for shape, dtype in (((2, 3), ms.float32), ((), ms.int32), ((3,), ms.bool_))
            ]
            different = ranks.have_same_bits(parameters)
            ranks.broadcast(parameters)
            found[mode] = {
                "gathered": [one.tolist() for one in ranks.gather(np.array([[number], [-1]]))],
                "shares": [one.tolist() for one in ranks.gather(np.array([share]))],
                "shared": ranks.share({"of": rank, "text": "ü" * 70000}),
                "same bits": [different, ranks.have_same_bits(parameters)],
                "parameters": [parameter.asnumpy().tolist() for parameter in parameters],
            }
            statistics = [
                ms.Parameter(ms.Tensor(values, ms.float32), name=f"s{len(values)}")
                for values in ([rank, 10 * rank], [100 * rank])
            ]
            agreement.Agreement(ranks, statistics, None).average_statistics()
            found[mode]["statistics"] = [one.asnumpy().tolist() for one in statistics]
            found[mode]["scores"] = [score(record, ranks) for record in records]
        (folder / f"rank_{rank}.json").write_text(json.dumps(found))
    if is_scheduler():
        run_scheduler()


def score(record: str, ranks: Ranks) -> dict:
    data = evaluation.whole_images(record, 21, 1, 2, num_shards=ranks.size, shard_id=ranks.rank)

    def combine(counted):
        return sum(ranks.gather(counted))

    classes = [str(number) for number in range(21)]
    return evaluation.evaluate_dataset(Guess(), data, classes, combine=combine)


def main() -> None:
    folder, task, *arguments = sys.argv[1:]
    with pytest.MonkeyPatch.context() as patch:
        use_tiny_networks(patch)
        if task == "train":
            run_training(Path(folder), json.loads(arguments[0]))
        else:
            check(Path(folder), arguments)


if __name__ == "__main__":
    main()

import functools

import pytest

from fcn8s_ms import records, sample, sample_records
from fcn8s_ms.errors import InputError


def test_draws_and_builds_both_splits(tmp_path, monkeypatch):
    draw = functools.partial(sample.write_sample, num_train=4, num_val=2)
    monkeypatch.setattr(sample, "write_sample", draw)
    found = sample_records.build_sample_records(tmp_path)
    assert found == {split: tmp_path / f"{split}.mindrecord" for split in ("train", "val")}
    for path, count in zip(found.values(), (4, 2)):
        metadata = records.read_metadata(path)
        assert (metadata.num_samples, metadata.classes) == (count, sample.CLASSES)
    with pytest.raises(InputError, match="train.mindrecord"):
        sample_records.build_sample_records(tmp_path)
    assert sample_records.build_sample_records(tmp_path, overwrite=True) == found

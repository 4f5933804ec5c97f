"""Scores of several networks on the same images, counted by hand."""

import numpy as np
import pytest

from fcn8s_ms.evaluation import in_turn


class Left:
    """Predicts class 1 for the columns left of an edge, and 0 for the others."""

    n_class, multiple, name, takes_pixels = 2, 1, "left", True

    def __init__(self, edge, has_logits=True):
        self.edge, self.has_logits, self.order = edge, has_logits, []

    def class_ids(self, batch):
        ids = np.zeros(batch.shape[:3], np.int32)
        ids[..., : self.edge] = 1
        self.order.append(batch.shape[1:3])
        return ids

    def logits(self, batch):
        assert self.has_logits, "asked for what it has not"
        return (self.class_ids(batch)[:, None] == np.arange(2)[:, None, None]).astype(np.float32)


def samples():
    image = np.zeros((2, 8, 3), np.uint8)
    label = np.zeros((2, 8), np.uint8)
    label[:, :4] = 1
    yield "a", image, label
    label = label.copy()
    label[0] = 255
    yield "b", image, label


def test_scores_and_other_class_ids():
    right, wrong = Left(4), Left(6)
    found = in_turn.score_in_turn({"one": right, "other": wrong}, samples())
    assert found["one"].mean_iou == 1 and found["one"].other_ids == 0
    # 24 labelled pixels, 3 rows: of class 1 4 of 6 columns, of class 0 2 of 4.
    assert found["other"].mean_iou == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert found["other"].other_ids == 2 * 2 * 2 and found["other"].pixels == 32
    assert len(found["one"].seconds) == 1  # the first image prepares
    lines = in_turn.table(found).splitlines()
    assert [cell for cell in lines[1].split()][:4] == ["one", "1.0000", "1.0000", "-"]
    assert lines[2].split()[:5] == ["other", "0.5833", "0.7500", "25.00", "%"]


def test_class_ids_at_another_size():
    """An engine without logits is asked for ids, which are scaled to the image."""
    engine = Left(2, has_logits=False)
    found = in_turn.score_in_turn({"ids": engine}, samples(), resize="1x4")
    assert engine.order == [(1, 4), (1, 4)]
    assert found["ids"].mean_iou == 1

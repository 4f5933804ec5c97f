import numpy as np
import pytest

from fcn8s_ms.inference import from_logits


@pytest.mark.parametrize("n_class", [2, 21, 255])
def test_of_equal_logits_the_first_class_counts(n_class):
    """Few different values, so that most pixels have several largest ones."""
    logits = np.random.RandomState(n_class).randint(-2, 3, (n_class, 9, 8)).astype(np.float32)
    logits[-1, :2] = 5  # the last class
    unchanged = logits.copy()
    ids, certainty = from_logits.class_ids_and_certainty(logits, (9, 8))
    assert ids.dtype == np.uint8 and np.array_equal(ids, logits.argmax(axis=0))
    assert np.array_equal(from_logits.class_ids(logits, (9, 8)), ids)
    softmax = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(certainty, softmax.max(axis=0), rtol=1e-5)
    assert np.array_equal(logits, unchanged)

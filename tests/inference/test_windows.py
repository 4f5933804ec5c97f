import numpy as np
import pytest

from fcn8s_ms.inference import windows


def logits_of(images):
    """Differs with what else is in the window, as that of a network."""
    found = []
    for image in images:
        grey = image.mean(axis=2, dtype=np.float32)
        found.append(np.stack([grey - grey.mean(), np.roll(grey, 1, axis=1), grey.T.mean() - grey]))
    return found


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("size", [(50, 70), (64, 33), (20, 90), (9, 9)])
@pytest.mark.parametrize("sliding", [(32, 32), (32, 24), (24, 7)])
def test_parts_are_those_of_the_whole_image(size, sliding, batch_size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    expected = windows.mean_logits(image, 3, sliding, 1, logits_of)
    found, times = np.zeros_like(expected), np.zeros(size, int)
    most = 0

    def read(top, left, height, width):
        return image[top : top + height, left : left + width]

    for top, left, logits in windows.bands(read, size, 3, sliding, batch_size, logits_of):
        place = (..., slice(top, top + logits.shape[1]), slice(left, left + logits.shape[2]))
        found[place] = logits
        times[place] += 1
        most = max(most, logits.shape[2])
    assert (times == 1).all() and most <= max(sliding)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


def test_windows_cover_a_side_and_stay_inside():
    assert windows.starts(100, 32, 24) == [0, 24, 48, 68]
    assert windows.starts(32, 32, 24) == windows.starts(10, 32, 24) == [0]

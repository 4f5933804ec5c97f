"""TIFF files in parts, by the program; skipped without rasterio."""

import warnings

import numpy as np
import pytest

from fcn8s_ms import predict
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import Segmenter

from ..helpers import read_mask
from ..test_predict import segmenter_with

rasterio = pytest.importorskip("rasterio", reason="rasterio, of the extra geotiff, is missing")

PLACE = rasterio.transform.from_origin(399960.0, 5300040.0, 10.0, 10.0)


def picture(height=150, width=210):
    random = np.random.default_rng(1)
    small = random.integers(0, 256, (height // 15, width // 15, 3), np.uint8)
    return np.kron(small, np.ones((15, 15, 1), np.uint8))


def write(path, pixels, **options):
    """Pixels (H, W, bands), RGB, as a GeoTIFF in tiles."""
    profile = {
        "driver": "GTiff",
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "count": pixels.shape[2],
        "dtype": pixels.dtype,
        "crs": "EPSG:32632",
        "transform": PLACE,
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        "compress": "deflate",
    }
    with rasterio.open(path, "w", **{**profile, **options}) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(
        Segmenter, "from_checkpoint", lambda path, device, **options: segmenter_with(**options)
    )

    def started(*arguments):
        flags = ["--checkpoint", "FCN8s.ckpt", "--device", "CPU", "--output", tmp_path / "out"]
        flags += ["--geotiff", "--sliding", 64, 48]
        try:
            predict.main([str(one) for one in (*flags, *arguments)])
        except SystemExit as stop:
            return stop.code
        return 0

    return started


def test_results_have_the_place_of_the_picture(run, tmp_path):
    pixels = picture()
    path = write(tmp_path / "field.tif", pixels)
    kinds = "mask,certainty,overlay"
    flags = ("--save", kinds, "--max-pixels", 1000, "--batch-size", 3)
    assert run(path, *flags) == 0
    expected = segmenter_with(sliding=(64, 48))(pixels[..., ::-1])
    assert len(np.unique(expected)) > 2
    for kind, bands in (("mask", 1), ("certainty", 1), ("overlay", 3)):
        with rasterio.open(tmp_path / "out" / f"field_{kind}.tif") as file:
            assert (file.transform, file.crs.to_epsg()) == (PLACE, 32632)
            assert (file.height, file.width, file.count) == (150, 210, bands)
            found = file.read()
            if kind == "mask":
                assert (found[0] == expected).mean() > 0.999
            elif kind == "certainty":
                largest = segmenter_with(sliding=(64, 48)).probabilities(pixels[..., ::-1]).max(0)
                assert np.abs(found[0] / 255 - largest).max() < 0.6 / 255


def test_pixels_without_data_are_ignored_and_16_bits_read(run, tmp_path):
    pixels = picture()
    pixels[40:60, 30:90] = 0
    path = write(tmp_path / "field.tif", pixels.astype(np.uint16) << 8, nodata=0)
    assert run(path, "--save", "mask") == 0
    with rasterio.open(tmp_path / "out" / "field_mask.tif") as file:
        found = file.read(1)
    assert (found[40:60, 30:90] == 255).all() and (found[:40] != 255).mean() > 0.9
    expected = segmenter_with(sliding=(64, 48))(pixels[..., ::-1])
    assert (found == expected)[found != 255].mean() > 0.999


def test_tiff_without_a_place(run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write(tmp_path / "plain.tif", picture()[..., :1], crs=None, transform=None)
    assert run(path, "--save", "mask", "--plain-names") == 0
    assert read_mask(tmp_path / "out" / "plain.tif").shape == (150, 210)


def test_files_and_flags_that_do_not_fit(run, tmp_path, capsys):
    (tmp_path / "broken.tif").write_bytes(b"II*\0 nothing")
    numbers = write(tmp_path / "heights.tif", picture().astype(np.float32))
    assert run(tmp_path / "broken.tif", numbers, "--save", "mask") == 1
    error = capsys.readouterr().err
    assert "broken.tif is not a TIFF file that can be read in parts" in error
    assert "heights.tif holds float32 numbers" in error
    assert not list((tmp_path / "out").glob("*"))
    (tmp_path / "photo.png").touch()
    for arguments, message in (
        ((tmp_path / "photo.png", "--save", "mask"), "photo.png is none; predict it without"),
        ((numbers, "--save", "mask,polygons"), "--save polygons needs a whole picture"),
        ((numbers, "--save", "mask", "--flip"), "--geotiff needs --sliding CROP STRIDE"),
    ):
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err


def test_a_file_in_one_piece(monkeypatch, tmp_path):
    from fcn8s_ms.inference import geotiff

    path = write(tmp_path / "field.tif", picture(), tiled=False, blockysize=150, blockxsize=None)
    monkeypatch.setattr(geotiff, "_LARGEST_PIECE", 1000)
    with pytest.raises(InputError, match="210x150 pixels and cannot be read in parts; save it in"):
        geotiff.segment(segmenter_with(sliding=(64, 48)).predictor, path, {}, 1)

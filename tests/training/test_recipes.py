"""The recipes in `notebooks/recipes`: files of arguments that a training takes as they are."""

import re
from pathlib import Path

import pytest

from fcn8s_ms.training.arguments import parse

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "notebooks" / "recipes").iterdir())
# What the pages say how to get, in the checkout.
FILES = {
    "dataset/camvid_train.mindrecord",
    "dataset/camvid_val.mindrecord",
    "dataset/nuclei_train.mindrecord",
    "dataset/nuclei_val.mindrecord",
    "dataset/trainaug.mindrecord",
    "dataset/voc_val.mindrecord",
    "fcn8s_vgg16_pretrain.ckpt",
    "vgg16.ckpt",
    "vgg16_nuclei.ckpt",
}


def test_there_are_recipes():
    assert len(RECIPES) >= 4 and {path.suffix for path in RECIPES} == {".toml"}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_training_takes_it(recipe):
    config = parse(["--arguments", str(recipe), "--output", "runs/a"])
    given = (config.data.data, config.data.val_data, config.network.pretrained)
    found = {path.resolve().relative_to(ROOT).as_posix() for path in given if path is not None}
    assert found <= FILES and len(found) >= 2


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_its_command_is_its_own(recipe):
    text = recipe.read_text(encoding="utf-8")
    own = f"notebooks/recipes/{recipe.name} --output runs/{recipe.stem}"
    assert re.findall(r"--arguments (.+)", text) == [own]


@pytest.mark.parametrize("page", ["notebooks/README.md", "notebooks/README_zh.md"])
def test_the_page_names_every_recipe_and_file(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [path.name for path in RECIPES if f"recipes/{path.name}" not in text] == []
    assert [file for file in sorted(FILES) if file.split("/")[-1] not in text] == []

"""Imports run downward only, and modules that need no MindSpore do not import it."""

import ast
import inspect
import pydoc
import re
from pathlib import Path

import pytest

import fcn8s_ms

PACKAGE = Path(fcn8s_ms.__file__).parent

# From the ground up. A folder stands for its modules; within a folder the order is that of FOLDERS.
LAYERS = [
    {"__init__", "ending", "errors", "system", "voc"},
    {"files", "options"},
    {"formats"},
    {"device", "confusion", "images"},
    {"transforms"},
    {"distributed", "fetch"},
    {"loss", "visualize"},
    {"network"},
    {"model"},
    {"deployment", "records"},
    {"checkpoint", "metrics"},
    {"dataset", "inference"},
    {"evaluation", "webpage"},
    {"training"},
    {"inspection"},
    {"build", "train", "compare", "eval", "predict", "demo", "export", "info"},
    {"api"},
    {"__main__"},
]
FOLDERS = {
    "api": [{"keywords"}, {"functions"}],
    "formats": [
        {"columns", "copies", "json_lists", "paths", "png", "protobuf", "schema"},
        {
            "caffe_file",
            "checkpoint_file",
            "checkpoint_json",
            "hdf5_file",
            "onnx_digest",
            "onnx_file",
            "onnx_metadata",
            "safetensors_file",
            "sealing",
        },
        {"checkpoints"},
    ],
    "records": [
        {"metadata", "labelme", "matlab", "scenes", "shapes"},
        {"checksums", "classes", "structure"},
        {"masks", "read", "sources"},
        {"coco", "encode", "folders", "overlap", "samples", "split", "yolo"},
        {"layouts"},
        {"arguments", "fill", "order", "survey"},
        {"write"},
        {"demo", "seal"},
    ],
    "system": [{"threads", "transfer"}],
    "images": [{"augmentation", "corruption", "geometry", "header"}, {"reader"}],
    "network": [
        {"architectures", "batch_norm", "converted", "dropout", "freeze", "upsampling"},
        {"cpu", "layers", "paper", "paper_weights", "resnet", "resnet_weights", "vgg_layouts"},
        {"vgg_weights"},
        {"calibration", "conversion"},
    ],
    "inference": [
        {"cross_entropy", "from_logits"},
        {"engine", "images", "inputs", "mindspore_engine", "onnx_engine", "polygons", "video"},
        {"annotations", "certainty", "result_options", "stopwatch", "view", "windows"},
        {"predictor"},
        {"geotiff"},
        {"outputs"},
        {"pipeline", "segmenter"},
    ],
    "evaluation": [
        {"crops", "predictions", "report"},
        {"boundaries", "certainty", "comparison", "in_turn", "robustness"},
        {"changes", "int8", "per_image", "scoring", "thumbnails"},
        {"pictures"},
        {"html_sections"},
        {"html_report"},
        {"options"},
    ],
    "webpage": [{"answers", "examples"}, {"results"}, {"page"}, {"server"}],
    "visualize": [
        {"fonts", "palette"},
        {"canvas", "overlays"},
        {
            "changes",
            "class_scores",
            "confusion_matrix",
            "corruptions",
            "curves",
            "figures",
            "reliability",
        },
    ],
    "training": [
        {
            "accumulation",
            "ema",
            "history",
            "interruption",
            "losses",
            "optimizer",
            "schedule",
            "tensorboard",
            "train_scores",
        },
        {"option_group", "results"},
        {"data_options", "network_options", "options"},
        {"callbacks", "network", "precheck", "stored", "summary"},
        {"argument_file", "run_folder"},
        {"arguments", "comparison", "resume"},
        {"data"},
        {"preview", "recorder"},
        {"loop"},
    ],
    "inspection": [
        {"facts"},
        {"checkpoint", "contents", "exported", "record"},
        {"model_card"},
    ],
    "deployment": [
        {"arguments", "deployed", "onnx_nodes", "quantise"},
        {"onnx_paper"},
        {"onnx_networks"},
        {"onnx_graph"},
        {"fixed_size"},
    ],
    "distributed": [{"watchdog"}, {"ranks"}, {"agreement"}],
}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}

WITHOUT_MINDSPORE = set(
    """
    __init__ confusion ending errors fetch files options transforms voc
    deployment.quantise distributed.watchdog
    evaluation.boundaries evaluation.changes evaluation.certainty evaluation.comparison
    evaluation.html_report evaluation.html_sections evaluation.in_turn
    evaluation.per_image evaluation.pictures
    evaluation.predictions evaluation.report evaluation.robustness
    evaluation.scoring evaluation.thumbnails
    formats.columns
    formats.caffe_file formats.checkpoint_file formats.checkpoint_json formats.checkpoints
    formats.copies formats.hdf5_file formats.json_lists formats.onnx_digest formats.onnx_file
    formats.safetensors_file
    formats.onnx_metadata formats.paths formats.png formats.protobuf formats.schema formats.sealing
    images.augmentation images.corruption images.geometry images.header images.reader
    inference.annotations inference.certainty inference.cross_entropy inference.engine
    inference.from_logits inference.geotiff inference.images inference.inputs
    inference.onnx_engine inference.outputs inference.pipeline inference.polygons
    inference.predictor inference.result_options inference.segmenter inference.stopwatch
    inference.video inference.view inference.windows
    inspection.checkpoint inspection.exported inspection.facts inspection.model_card
    network.architectures network.conversion network.converted network.layers
    network.paper_weights network.resnet_weights network.upsampling
    network.vgg_layouts network.vgg_weights
    records.arguments records.checksums records.classes records.coco records.encode
    records.folders records.labelme records.layouts records.masks records.matlab records.metadata
    records.samples records.scenes
    records.shapes records.sources records.split records.structure records.survey records.yolo
    training.history training.interruption training.network_options training.option_group
    training.results
    training.schedule training.tensorboard
    system.threads system.transfer
    visualize.canvas visualize.changes visualize.class_scores visualize.confusion_matrix
    visualize.corruptions visualize.curves visualize.figures
    visualize.fonts visualize.overlays visualize.palette visualize.reliability
    webpage.answers webpage.examples webpage.page webpage.results webpage.server
    """.split()
)
# These load MindSpore when they run, not when they are imported, so that --help is quick.
LAZY = {
    "device",
    "records.demo",
    "records.fill",
    "records.overlap",
    "records.read",
    "records.seal",
    "records.write",
    "distributed.ranks",
    "evaluation.options",
    "training.resume",
}
LAZY |= {
    "api.functions",
    "api.keywords",
    "training.argument_file",
    "training.arguments",
    "training.comparison",
    "training.data_options",
    "training.options",
    "training.run_folder",
    "training.stored",
    "build",
    "compare",
    "deployment.arguments",
    "train",
    "eval",
    "predict",
    "demo",
    "export",
    "info",
    "inspection.contents",
    "inspection.record",
    "__main__",
}


def modules():
    """Dotted names of all modules, without the faces of the folders."""
    names = [
        path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        for path in PACKAGE.rglob("*.py")
    ]
    return sorted(name for name in names if not name.endswith(".__init__"))


def file_of(module):
    return PACKAGE / f"{module.replace('.', '/')}.py"


def imports(module, top_level_only=False):
    """Absolute names of the imported modules; those of the package without its name in front.

    Of `from . import x` that is x, and of `from .records import x` both records and records.x.
    What stands under `if TYPE_CHECKING` is not imported.
    """
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    folder = module.split(".")[:-1]
    for node in tree.body if top_level_only else ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1]
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield f".{base}"
            for alias in node.names:
                name = f"{base}.{alias.name}" if base else alias.name
                if name == "__init__" or file_of(name).is_file() or (PACKAGE / name).is_dir():
                    yield f".{name}"


def own(names):
    """Of imported names those of the package, as (top, rest)."""
    for name in names:
        if name.startswith("."):
            top, _, rest = name[1:].partition(".")
            yield top, rest


def test_every_module_has_a_layer():
    tops = {name.split(".")[0] for name in modules()}
    assert tops == set(LEVEL)
    for folder, levels in FOLDERS.items():
        inside = {name.split(".")[1] for name in modules() if name.startswith(f"{folder}.")}
        assert inside == set().union(*levels), folder
    assert set(FOLDERS) == {name.split(".")[0] for name in modules() if "." in name}


@pytest.mark.parametrize("module", modules())
def test_imports_run_downward(module):
    top, _, rest = module.partition(".")
    inside = {name: level for level, names in enumerate(FOLDERS.get(top, [])) for name in names}
    for other, other_rest in own(imports(module)):
        if other != top:
            assert LEVEL[other] < LEVEL[top], f"{module} imports {other}"
        elif other_rest:
            assert inside[other_rest] < inside[rest], f"{module} imports {other}.{other_rest}"


@pytest.mark.parametrize("module", sorted(WITHOUT_MINDSPORE))
def test_mindspore_is_not_needed(module):
    assert "mindspore" not in {name.split(".")[0] for name in imports(module)}


@pytest.mark.parametrize("module", sorted(LAZY))
def test_mindspore_is_loaded_late(module):
    heavy = set(modules()) - WITHOUT_MINDSPORE - LAZY
    names = set(imports(module, top_level_only=True))
    assert not {name.split(".")[0] for name in names} & {"mindspore"}
    assert not {name[1:] for name in names if name.startswith(".")} & heavy


def test_public_names_resolve():
    for name in fcn8s_ms.__all__:
        assert getattr(fcn8s_ms, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = fcn8s_ms.nothing


def test_help_of_the_package_explains_every_name():
    """Constants among them: help() shows a constant's value, not what is written below it."""
    for name in set(fcn8s_ms.__all__) - {"__version__"}:
        assert re.search(rf"`{name}[`(]", fcn8s_ms.__doc__), name


NETWORK_ARGUMENTS = "n_class depths widths fc_width upsample_init skip_init dropout"
DATASET_ARGUMENTS = """
    image_mean image_std data_file batch_size crop_size max_scale min_scale ignore_label num_classes
    num_readers num_parallel_calls seed num_shards shard_id max_pixels augmentations
    resize_to resize_short cat_max_ratio
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[(name, NETWORK_ARGUMENTS) for name in ("FCN8s", "FCN16s", "FCN32s")],
        ("CrossEntropyLoss", "ignore_label class_weights ranks reduction"),
        ("SegDataset", DATASET_ARGUMENTS),
        ("Segmenter", "engine classes palette path resize_of_training options"),
        ("MeanIntersectionOverUnion", "num_class shared"),
    ],
)
def test_help_shows_the_arguments(name, arguments):
    """As names that can be read, in front of the docstring."""
    public = getattr(fcn8s_ms, name)
    assert list(inspect.signature(public).parameters) == arguments.split()
    shown = pydoc.render_doc(public, renderer=pydoc.plaintext)
    own, _, _ = shown.partition("inherited from")
    assert f"{name}({arguments.split()[0]}" in own and "numpy._typing" not in own
    assert "This method must be overridden" not in own  # MindSpore's text on `construct`


def test_the_house_is_small_enough_to_walk_through():
    assert len(list(PACKAGE.glob("*.py"))) <= 24
    too_long = {
        name: lines
        for name in modules()
        if (lines := len(file_of(name).read_text(encoding="utf-8").splitlines())) > 450
    }
    assert too_long == {}

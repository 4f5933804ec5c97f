"""The tutorial runs from top to bottom, in both languages, without a word on stderr.

Files of others, which have no checksum, are named there.
"""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from fcn8s_ms import checkpoint, fetch, model

from .helpers import TINY, write_plain_record

FOLDER = Path(__file__).parents[1] / "notebooks"
EDITIONS = ("fcn8s_tutorial.ipynb", "fcn8s_tutorial_zh.ipynb")
LARGEST_FILE = 2e6

# Follows the cell that is tagged "parameters", as papermill does it.
SMALL = f"""
WIDTHS, FC_WIDTH = {TINY["widths"]}, {TINY["fc_width"]}
NUM_TRAIN, NUM_VAL = 8, 6
MAX_STEPS = 3
"""
# What is compiled in the first edition is the same in the second; compiling takes most of the time.
PYNATIVE = "device.configure(target, mode='pynative')\n"
CHINESE = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")


def read(edition):
    return nbformat.read(FOLDER / edition, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def with_parameters(notebook, source):
    cells = notebook.cells
    (place,) = (
        number for number, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", ())
    )
    cells.insert(place + 1, nbformat.v4.new_code_cell(source))
    return notebook


def execute(notebook, folder, monkeypatch):
    """Runs all cells in a folder; any error raises. Returns the text that came on stdout."""
    monkeypatch.setenv("IPYTHONDIR", str(folder / ".ipython"))  # nobody's own startup files
    # With it in the environment a kernel does not catch what MindSpore's C++ writes.
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    said = {"stdout": "", "stderr": ""}
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "stream":
                said[output.name] += output.text
    notes = [line for line in said["stderr"].splitlines() if "has no checksum" not in line]
    assert notes == []
    return said["stdout"]


@pytest.mark.parametrize(
    ("edition", "mode"),
    [
        pytest.param(EDITIONS[0], "", id=EDITIONS[0]),
        pytest.param(EDITIONS[1], PYNATIVE, id=EDITIONS[1], marks=pytest.mark.slow),
    ],
)
def test_runs_on_the_sample(edition, mode, tmp_path, monkeypatch):
    notebook = with_parameters(read(edition), SMALL + mode)
    said = execute(notebook, tmp_path, monkeypatch)
    assert "mean IoU" in said and "ladybird" in said
    assert "../runs/nuclei" in said  # no such run here
    assert {path.name for path in tmp_path.iterdir()} == {".ipython", "tutorial_files"}
    assert (tmp_path / "tutorial_files" / "FCN8s-tutorial.ckpt").is_file()


def test_the_section_on_a_run_loads_one(tmp_path, monkeypatch):
    """It needs of the notebook its imports and its switchboard, no training."""
    (tmp_path / "run").mkdir()
    write_plain_record(tmp_path / "val.mindrecord")
    network = model.FCN8s(21, **TINY)
    checkpoint.save(network, tmp_path / "run" / "FCN8s-best.ckpt", {})
    (tmp_path / "run" / "arguments.json").write_text('{"val_data": "../val.mindrecord"}')
    notebook = read(EDITIONS[0])
    section = next(cell for cell in notebook.cells if cell.id == "photographs-code")
    imports = "from fcn8s_ms import Segmenter, evaluation, visualize\nFOLDER = Path()\n"
    given = nbformat.v4.new_code_cell(imports + 'RUN = Path("run")')
    notebook.cells = [code_cells(notebook)[0], given, section]
    execute(notebook, tmp_path, monkeypatch)
    assert section.outputs[-1].output_type == "display_data"
    assert (tmp_path / "photographs.jpg").is_file()


@pytest.mark.slow
def test_runs_on_the_published_files(tmp_path, monkeypatch):
    folder = tmp_path / "tutorial_files"
    record = folder / fetch.DATA_FILE
    record.parent.mkdir(parents=True)
    write_plain_record(record)
    network = model.FCN8s(21, **TINY)
    for name in (fetch.VGG16_FILE, fetch.TRAINED_FILE):
        checkpoint.save(network, folder / name, {})
        checkpoint.metadata_file(folder / name).unlink()
    given = f'{SMALL}{PYNATIVE}DATA = "published"\nMAX_STEPS, MAX_IMAGES = 1, 2\n'
    said = execute(with_parameters(read(EDITIONS[0]), given), tmp_path, monkeypatch)
    assert f"{len(list(network.get_parameters()))} parameters loaded" in said
    assert "tvmonitor" in said


def same_code(first, second):
    """Whether two syntax trees differ in nothing but strings, the second's being Chinese."""
    if type(first) is not type(second):
        return False
    if isinstance(first, ast.JoinedStr):
        values = [
            [part for part in string.values if isinstance(part, ast.FormattedValue)]
            for string in (first, second)
        ]
        return ast.unparse(first) == ast.unparse(second) or (
            bool(CHINESE.search(ast.unparse(second))) and same_code(*values)
        )
    if isinstance(first, ast.Constant):
        is_translated = isinstance(second.value, str) and CHINESE.search(second.value)
        return first.value == second.value or bool(is_translated)
    if isinstance(first, ast.AST):
        return all(
            same_code(getattr(first, name, None), getattr(second, name, None))
            for name in first._fields
        )
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same_code, first, second))
    return first == second


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("a(1, 'b')  # c", "a(1, '乙')  # 丙", True),
        ("f'{a} of {b}'", "f'{a}在{b}'", True),
        ("a(1)", "a(2)", False),
        ("a('b')", "a('c')", False),
        ("f'{a} of {b}'", "f'{b}在{a}'", False),
        ("a = 1", "a = 1; b = 2", False),
    ],
)
def test_comparison_of_code(first, second, same):
    assert same_code(ast.parse(first), ast.parse(second)) == same


def test_editions_have_the_same_cells():
    english, chinese = (read(edition).cells for edition in EDITIONS)
    assert [cell.cell_type for cell in english] == [cell.cell_type for cell in chinese]
    for number, (first, second) in enumerate(zip(english, chinese)):
        assert first.metadata == second.metadata
        if first.cell_type == "code":
            assert same_code(ast.parse(first.source), ast.parse(second.source)), number
        else:
            assert CHINESE.search(second.source), number
            assert not CHINESE.search(first.source), number
            formulas = [re.findall(r"\$[^$]*[=_][^$]*\$", cell.source) for cell in (first, second)]
            assert len(formulas[0]) == len(formulas[1]), number
            tables = [len(re.findall(r"^\|", cell.source, re.M)) for cell in (first, second)]
            assert tables[0] == tables[1], number


@pytest.mark.parametrize("edition", EDITIONS)
def test_stored_outputs(edition):
    """What a code host shows: every cell was run once, in order, on a clean machine."""
    notebook, text = read(edition), (FOLDER / edition).read_text(encoding="utf-8")
    assert len(text.encode()) < LARGEST_FILE
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {
        "stream",
        "display_data",
        "execute_result",
    }
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    kinds = {"image/png", "image/jpeg"}
    pictures = [output for output in outputs if kinds & set(output.get("data", ()))]
    assert len(pictures) >= 15
    shown = "".join(str(output.get("text", "")) for output in outputs)
    assert not re.search(r"/root|/home|/Users|/tmp|site-packages|[A-Z]:\\|WARN", shown, re.I)


@pytest.mark.parametrize("edition", EDITIONS)
def test_links_resolve(edition):
    text = "\n".join(cell.source for cell in read(edition).cells if cell.cell_type == "markdown")
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    anchors = {heading.strip().replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("https://"):
            assert (FOLDER / target.partition("#")[0]).is_file(), target

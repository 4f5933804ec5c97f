import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fcn8s_ms import errors
from fcn8s_ms.errors import InputError, reported_by

from .helpers import clean_environment

PROGRAM = """
import os, sys
from fcn8s_ms.errors import InputError, reported_by
with reported_by("tool"):
    {}
"""


def outcome(body, *, shell="", **variables):
    """Status, standard output and standard error of a program that does `body`."""
    command = 'exec "$0" -c "$1" ' + shell
    if shell.startswith("|"):
        command = f'"$0" -c "$1" {shell}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command, sys.executable, PROGRAM.format(body)],
        env=clean_environment(**variables),
        capture_output=True,
    )
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("a.png is missing"), 2, "tool: error: a.png is missing\n"),
        (KeyboardInterrupt(), 130, "tool: stopped by SIGINT\n"),
        (OSError(errno.ENOSPC, "No space left", "a.png"), 2, "tool: error: a.png: No space left\n"),
        (OSError(errno.ENOSPC, "No space left"), 2, "tool: error: No space left\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
    ],
)
def test_errors_end_in_one_line(error, status, message, capsys, monkeypatch):
    monkeypatch.setattr(errors, "_give_up_output", lambda: None)  # it is the test's own
    with pytest.raises(SystemExit) as caught, reported_by("tool"):
        raise error
    assert caught.value.code == status
    assert capsys.readouterr().err == message


def test_commands_are_quoted():
    started = "python -m fcn8s_ms.eval --data 'my photos/a.mindrecord' --worst 3"
    assert errors.command("eval", "--data", Path("my photos/a.mindrecord"), "--worst", 3) == started


def test_faults_that_are_alike_are_one_line():
    faults = errors.Faults()
    assert not faults and faults.lines() == []
    image, mask, far = Path("/d/a 1.jpg"), Path("/d/m/a 1.png"), Path("/e/b.png")
    faults.add(f"{mask} holds label 38, 75; correct it", mask, image)
    faults.add(f"{image} is missing", mask, image)
    faults.add(f"{far} holds label 3 and 4 more; correct it", far)
    faults.add("something else")
    assert len(faults) == 4
    assert faults.lines() == [
        "/d/m/a 1.png holds label 38, 75; correct it (2 files like this: a 1.png, /e/b.png)",
        "/d/a 1.jpg is missing",
        "something else",
    ]


def test_lines_of_faults_are_few():
    faults = errors.Faults()
    for number in range(26):
        faults.add(f"it is {chr(97 + number)}", Path("a"))
    faults.add("it is z", Path("b"))
    lines = faults.lines()
    assert len(lines) == 21 and lines[-1] == "… and 7 more"


def test_faults_of_the_program_keep_their_traceback():
    for error in (ValueError("x"), OSError("without a number")):
        with pytest.raises(type(error)), reported_by("tool"):
            raise error


def test_reader_that_has_gone():
    status, _, error = outcome("for i in range(99999): print(i)", shell="| head -1")
    assert (status, error) == (141, "")
    status, _, error = outcome("print('one line, written at the end')", shell="| true")
    assert status in (0, 141) and not error  # 0: written before the reader went


def test_full_standard_output():
    status, _, error = outcome("print('text')", shell="> /dev/full")
    assert (status, error) == (2, "tool: error: No space left on device\n")


def test_text_that_a_terminal_cannot_show():
    body = "print('a…b', os.fsdecode(b'caf\\xe9.jpg'))"
    assert outcome(body, PYTHONIOENCODING="ascii") == (0, b"a?b caf?.jpg\n", "")
    assert outcome(body, PYTHONIOENCODING="utf-8") == (0, "a…b caf?.jpg\n".encode(), "")
    status, _, error = outcome("raise InputError('choose 0…1')", PYTHONIOENCODING="ascii")
    assert status == 2 and "choose 0" in error


def test_closed_streams():
    body = "print('text'); sys.stderr.write('more'); raise InputError('reason')"
    assert outcome(body, shell=">&-") == (2, b"", "moretool: error: reason\n")
    assert outcome(body, shell="2>&-") == (2, b"text\n", "")
    assert outcome(body, shell=">&- 2>&-")[0] == 2


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interrupt():
    # Tests that run in the background of a shell inherit that SIGINT is ignored.
    handled = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    status, _, error = outcome(f"{handled}; os.kill(os.getpid(), signal.SIGINT)")
    assert (status, error) == (130, "tool: stopped by SIGINT\n")

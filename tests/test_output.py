"""Outputs appear whole or not at all: errors, interrupts, kill -9, a full disk, replacement."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tersor import output
from tersor.errors import OutputError, OutputExistsError, UsageError
from tersor.output import OutputFile, OutputFolder

ARCHIVE = "model.tersor.safetensors"


def leftovers(parent: Path) -> list[str]:
    return sorted(name for name in os.listdir(parent) if name.startswith("."))


def make_archive(path: Path, content: bytes = b"old") -> None:
    path.mkdir()
    (path / ARCHIVE).write_bytes(content)


def write_folder(path: Path, content: bytes = b"new", **options: bool) -> None:
    with OutputFolder(path, **options) as folder:
        (folder / "nested").mkdir()
        (folder / "nested" / "x").write_bytes(content)
        (folder / ARCHIVE).write_bytes(content)


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    """A Python process that runs the script and prints a line when it is where the test wants it."""
    code = "import os, sys, time\nfrom tersor import output\nfrom tersor.output import *\n" + textwrap.dedent(
        script
    )
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str], signal_number: int) -> None:
    process.send_signal(signal_number)
    process.communicate(timeout=30)


def test_folder_appears_whole_at_the_end_and_not_before(tmp_path: Path) -> None:
    with OutputFolder(tmp_path / "out") as folder:
        (folder / "x").write_bytes(b"1")
        assert not (tmp_path / "out").exists()
        assert folder.parent == tmp_path
        assert folder.name.startswith(".out.tersor-")
    assert (tmp_path / "out" / "x").read_bytes() == b"1"
    assert leftovers(tmp_path) == []


def test_file_appears_whole_at_the_end_and_not_before(tmp_path: Path) -> None:
    with OutputFile(tmp_path / "out.bin") as file:
        file.write(b"12")
        file.seek(0)
        file.write(b"3")
        assert not (tmp_path / "out.bin").exists()
    assert (tmp_path / "out.bin").read_bytes() == b"32"
    assert leftovers(tmp_path) == []


def write_folder_and_raise(path: Path, error: type[BaseException]) -> None:
    with OutputFolder(path) as folder:
        (folder / "x").write_bytes(b"1")
        raise error


def write_file_and_raise(path: Path, error: type[BaseException]) -> None:
    with OutputFile(path) as file:
        file.write(b"1")
        raise error


@pytest.mark.parametrize("write", [write_folder_and_raise, write_file_and_raise])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_exception_leaves_nothing_and_passes_through(
    write: Callable[[Path, type[BaseException]], None], error: type[BaseException], tmp_path: Path
) -> None:
    with pytest.raises(error):
        write(tmp_path / "out", error)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["folder", "file"])
def test_existing_output_is_refused_before_any_work(name: str, tmp_path: Path) -> None:
    make_archive(tmp_path / "folder")
    (tmp_path / "file").write_bytes(b"old")
    for kind in (OutputFolder, OutputFile):
        with pytest.raises(OutputExistsError, match="exists already; use --force"):
            kind(tmp_path / name)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_force_replaces_an_archive_an_empty_folder_and_a_file(tmp_path: Path) -> None:
    make_archive(tmp_path / "archive")
    (tmp_path / "archive" / "old").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for name in ("archive", "empty"):
        write_folder(tmp_path / name, force=True)
        assert sorted(os.listdir(tmp_path / name)) == [ARCHIVE, "nested"]
    (tmp_path / "file").write_bytes(b"old")
    with OutputFile(tmp_path / "file", force=True) as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert leftovers(tmp_path) == []


def test_failed_replacement_keeps_the_old_output(tmp_path: Path) -> None:
    make_archive(tmp_path / "out")
    with pytest.raises(ValueError, match="stop"), OutputFolder(tmp_path / "out", force=True):
        raise ValueError("stop")
    assert (tmp_path / "out" / ARCHIVE).read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_interrupt_between_the_two_renames_puts_the_old_output_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_archive(tmp_path / "out")
    rename = os.rename

    def rename_or_interrupt(source: Path, target: Path) -> None:
        if str(source).endswith(".tmp"):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_or_interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "out", force=True)
    assert (tmp_path / "out" / ARCHIVE).read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_force_never_replaces_what_does_not_look_like_an_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis.txt").write_bytes(b"precious")
    make_archive(tmp_path / "tree")
    (tmp_path / "tree" / ".git").mkdir()
    make_archive(tmp_path / "home")
    make_archive(tmp_path / "here")
    (tmp_path / "here" / "below").mkdir()
    (tmp_path / "link").symlink_to("here")
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here" / "below")
    reasons = {
        "documents": "is a folder without a",
        "tree": "is a git work tree",
        "home": "is the home folder",
        "here": "holds the current directory",
        "link": "is a symbolic link",
        "file": "is not a folder",
    }
    for name, reason in reasons.items():
        with pytest.raises(OutputExistsError, match=f"{name}: {reason}.*so --force does not replace it"):
            OutputFolder(tmp_path / name, force=True)
    with pytest.raises(OutputExistsError, match="is no regular file"):
        OutputFile(tmp_path / "documents", force=True)


def test_output_made_by_another_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(OutputExistsError), OutputFolder(tmp_path / "out"):
        make_archive(tmp_path / "out", b"theirs")
    assert (tmp_path / "out" / ARCHIVE).read_bytes() == b"theirs"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a\0b"])
def test_path_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no name for an output"):
        OutputFolder(name)


def test_parent_that_is_a_looping_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="does not exist; create it first"):
        OutputFolder(tmp_path / "loop" / "out")


def test_current_directory_that_is_gone_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_archive(tmp_path / "out")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError, match="out: cannot be written: No such file or directory"):
        OutputFolder(tmp_path / "out", force=True)
    monkeypatch.chdir(tmp_path)  # monkeypatch returns to where it was; that folder must exist


def test_missing_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist; create it first"):
        OutputFolder(tmp_path / "none" / "out")


def test_parent_that_is_not_writable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(OutputError, match="is not writable"):
        OutputFolder(tmp_path / "out")


@pytest.mark.parametrize("name", ["model", "model/out", "model/../model/out", ".", "link/out"])
def test_output_that_overlaps_an_input_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "link").symlink_to("model")
    path = tmp_path / name if name != "." else tmp_path
    with pytest.raises(UsageError, match="overlaps the input"):
        OutputFolder(path, inputs=[tmp_path / "model"], force=True)
    OutputFolder(tmp_path / "model-out", inputs=[tmp_path / "model"])


def test_name_too_long_for_the_system_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"), OutputFolder(tmp_path / ("x" * 250)):
        pass


def test_reserve_refuses_what_the_disk_cannot_hold(tmp_path: Path) -> None:
    out = OutputFolder(tmp_path / "out")
    with pytest.raises(OutputError, match=f"needs about {1 << 62} bytes, .* free"):
        out.reserve(1 << 62)


KILLED = {
    "folder": """
        with OutputFolder(sys.argv[1]) as folder:
            (folder / "x").write_bytes(b"half")
            print("ready", flush=True)
            time.sleep(60)
    """,
    "file": """
        with OutputFile(sys.argv[1]) as file:
            file.write(b"half")
            file.flush()
            print("ready", flush=True)
            time.sleep(60)
    """,
}


@pytest.mark.parametrize("kind", KILLED)
def test_kill_leaves_no_output_and_the_next_run_cleans_up(kind: str, tmp_path: Path) -> None:
    end(start(KILLED[kind], str(tmp_path / "out")), signal.SIGKILL)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".out.tersor-")
    write_folder(tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", KILLED)
def test_interrupt_leaves_nothing(kind: str, tmp_path: Path) -> None:
    end(start(KILLED[kind], str(tmp_path / "out")), signal.SIGINT)
    assert os.listdir(tmp_path) == []


def test_what_a_living_run_owns_is_left_alone(tmp_path: Path) -> None:
    process = start(KILLED["folder"], str(tmp_path / "out"))
    (owned,) = leftovers(tmp_path)
    write_folder(tmp_path / "out")
    with OutputFolder(tmp_path / "other"):
        OutputFolder(tmp_path / "other")  # our own process id, but locked
        assert any(name.startswith(".other") for name in leftovers(tmp_path))
    assert leftovers(tmp_path) == [owned]
    end(process, signal.SIGKILL)


def test_leftover_of_our_own_process_id_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".out.tersor-{os.getpid()}-0123abcd.tmp").mkdir()
    OutputFolder(tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_names_that_only_resemble_ours_are_left_alone(tmp_path: Path) -> None:
    names = [
        ".out.tersor-x-0123abcd.tmp",
        ".out.tersor-1-0123abcd.tmp2",
        ".outs.tersor-1-0123abcd.tmp",
        ".out",
    ]
    for name in names:
        (tmp_path / name).mkdir()
    OutputFolder(tmp_path / "out")
    assert leftovers(tmp_path) == sorted(names)


@pytest.mark.parametrize("killed_before_rename", [1, 2, 3])
def test_kill_during_replacement_leaves_old_or_new(killed_before_rename: int, tmp_path: Path) -> None:
    """Before the first rename, between the two, and after both (before the old output is removed)."""
    make_archive(tmp_path / "out")
    script = """
        calls = 0
        def wait_at(function):
            def wrapped(*arguments):
                global calls
                calls += 1
                if calls == int(sys.argv[2]):
                    print("ready", flush=True)
                    time.sleep(60)
                return function(*arguments)
            return wrapped
        os.rename = wait_at(os.rename)
        remove = output._remove
        output._remove = lambda path: wait_at(remove)(path) if str(path).endswith(".old") else remove(path)
        with OutputFolder(sys.argv[1], force=True) as folder:
            (folder / "model.tersor.safetensors").write_bytes(b"new")
    """
    end(start(script, str(tmp_path / "out"), str(killed_before_rename)), signal.SIGKILL)
    with pytest.raises(OutputExistsError):
        OutputFolder(tmp_path / "out")
    expected = b"new" if killed_before_rename == 3 else b"old"
    assert (tmp_path / "out" / ARCHIVE).read_bytes() == expected
    assert os.listdir(tmp_path) == ["out"]


def test_kill_at_random_moments_leaves_whole_or_nothing(tmp_path: Path) -> None:
    script = """
        print("ready", flush=True)
        while True:
            with OutputFolder(sys.argv[1], force=True) as folder:
                for name in "abcdefgh":
                    (folder / f"{name}.tersor.safetensors").write_bytes(name.encode() * 1000)
    """
    for attempt in range(8):
        process = start(script, str(tmp_path / "out"))
        time.sleep(0.003 * attempt)
        end(process, signal.SIGKILL)
        OutputFolder(tmp_path / "out", force=True)
        assert leftovers(tmp_path) == []
        if (tmp_path / "out").exists():
            found = {path.name[0]: path.stat().st_size for path in (tmp_path / "out").iterdir()}
            assert found == dict.fromkeys("abcdefgh", 1000)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A 256 KiB file system on `folder`; where mounting is not allowed, files of 256 KiB at most."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0:
        try:
            yield
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path):
        out = OutputFolder(tmp_path / "out")
        out.needed_bytes = 1 << 20
        with (
            pytest.raises(OutputError, match=r"out: cannot be written: .*\(about 1048576 bytes needed\)"),
            out as folder,
        ):
            (folder / "x").write_bytes(bytes(1 << 20))
        with pytest.raises(OutputError, match="cannot be written"), OutputFile(tmp_path / "x") as file:
            file.write(bytes(1 << 20))
        assert os.listdir(tmp_path) == []


def test_file_size_limit_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OutputError, match="File too large"), OutputFile(tmp_path / "x") as file:
            file.write(bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_full_disk_at_the_last_flush_is_an_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(output, "_sync", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_folder(tmp_path / "out")
    with pytest.raises(OutputError, match="No space left on device"), OutputFile(tmp_path / "x") as file:
        file.write(b"x")
    assert os.listdir(tmp_path) == []


def test_errors_about_other_files_are_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), OutputFolder(tmp_path / "out"):
        (tmp_path / "input").read_bytes()
    message = "out: cannot be written: No such file or directory"
    with pytest.raises(OutputError, match=message), OutputFolder(tmp_path / "out") as folder:
        (folder / "none" / "x").write_bytes(b"")

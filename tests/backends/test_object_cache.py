"""Compiled code is kept on disk: believed only if it is whole, ours and of this very origin."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np
import pytest

import graphc as gc
from graphc.ir.node import OPERATORS
from graphc.loops.language import Amount
from graphc.passes.base import Pipeline
from graphc.passes.pipelines import SMALL
from graphc.runtime.object_cache import ObjectCache, object_cache
from graphc_llvm import LLVMBackend, engine, step_record, variant
from graphc_llvm.step_record import StepRecord, record_origin

ROOT = Path(__file__).parents[2]
ORIGIN, CODE = b"what it was made from", bytes(range(256)) * 8
TEXT = "graph g(%x: f32[N,3]) { %y = {op}(%x) : f32[N,3] %z = mul(%y, %y) : f32[N,3] return %z }"
X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)


def graph(op: str = "tanh") -> gc.Graph:
    return gc.parse(TEXT.replace("{op}", op))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectCache:
    monkeypatch.setenv("GRAPHC_CACHE", str(tmp_path / "cache"))
    found = object_cache()
    assert found is not None
    return found


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources as of an installed package, even while someone is editing them."""
    monkeypatch.setattr(step_record, "_sources", lambda: "a digest")


def entry(cache: ObjectCache) -> Path:
    (found,) = cache.directory.iterdir()
    return found


def never(*_: Any) -> Any:
    raise AssertionError("this was to come from the cache")


# -- hits ------------------------------------------------------------------------------------------


def test_code_comes_back_as_it_was_put(cache: ObjectCache) -> None:
    assert cache.get(ORIGIN) is None
    cache.put(ORIGIN, CODE)
    assert cache.get(ORIGIN) == CODE
    assert cache.get(ORIGIN + b".") is None


def test_a_text_is_compiled_once(cache: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'target triple = "{llvm.get_process_triple()}"\n'
    text += "define i64 @answer() {\n  ret i64 42\n}\n"
    first = engine.machine_code(text)
    monkeypatch.setattr(engine, "parsed", never)
    assert engine.machine_code(text) == first
    assert engine.Code(first).function("answer", engine.ctypes.c_int64)() == 42


@pytest.mark.usefixtures("settled")
def test_a_graph_compiled_before_is_neither_lowered_nor_compiled_and_gives_the_same_bits(
    cache: ObjectCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = gc.compile(graph())(X)
    monkeypatch.setattr(variant, "build_program", never)
    monkeypatch.setattr(engine, "parsed", never)
    again = gc.compile(graph())
    assert again(X).tobytes() == first.tobytes()
    assert again(np.tile(X, (20, 1))[:7]).tobytes() == np.tile(first, (20, 1))[:7].tobytes()


@pytest.mark.usefixtures("settled", "cache")
def test_a_training_step_from_the_cache_trains_like_the_one_that_was_compiled() -> None:
    def losses() -> list[float]:
        net = gc.nn.Sequential(gc.nn.Conv(3, 3), gc.nn.ReLU(), gc.nn.Flatten(), gc.nn.Dense(4))
        model = gc.Model(
            net, "f32[N,1,6,6]", loss="cross_entropy", optimizer=gc.optim.Adam(0.01), seed=3
        )
        x = np.random.default_rng(0).standard_normal((20, 1, 6, 6)).astype(np.float32)
        return [model.step(x[:n], np.arange(n, dtype=np.int32) % 4) for n in (3, 20, 5, 20)]

    assert losses() == losses()


@pytest.mark.usefixtures("settled", "cache")
def test_what_came_from_the_cache_can_still_be_explained() -> None:
    gc.compile(graph())(X)
    run = gc.compile(graph())
    run(X)
    assert "tanh mul" in run.explain()


def test_a_record_says_what_the_program_says() -> None:
    program = variant.build_program(graph(), SMALL, engine.lowering(engine.machine_of()))
    record = StepRecord.of(program, "digest")
    assert StepRecord.parse(bytes(record)) == record
    memory, places = record.plan(5)
    planned = program.plan(5)
    assert memory.bytes == planned.bytes
    assert places == {program.slots[s]: at for s, at in planned.offsets.items()}
    assert record.flops == Amount(0, program.flops(1))


# -- what is not believed --------------------------------------------------------------------------


def _foreign(file: Path, cache: ObjectCache) -> None:
    cache.put(b"something else", CODE)
    (other,) = set(cache.directory.iterdir()) - {file}
    other.replace(file)


def _linked(file: Path, cache: ObjectCache) -> None:
    file.rename(cache.directory.parent / "elsewhere")
    file.symlink_to(cache.directory.parent / "elsewhere")


def _pipe(file: Path, cache: ObjectCache) -> None:
    file.unlink()
    os.mkfifo(file)


def _flipped(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


DAMAGE: dict[str, Callable[[Path, ObjectCache], None]] = {
    "empty": lambda file, _: file.write_bytes(b""),
    "cut off": lambda file, _: file.write_bytes(file.read_bytes()[:-1]),
    "cut in the origin": lambda file, _: file.write_bytes(file.read_bytes()[:40]),
    "longer": lambda file, _: file.write_bytes(file.read_bytes() + b"."),
    "one bit of the code": lambda file, _: _flipped(file, -5),
    "one bit of the origin": lambda file, _: _flipped(file, 35),
    "one bit of the digest": lambda file, _: _flipped(file, -len(CODE) - 3),
    "of another origin": _foreign,
    "a link": _linked,
    "a pipe": _pipe,
    "written to by others": lambda file, _: file.chmod(0o622),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_bad_entry_is_a_miss_with_one_warning_and_is_replaced(
    damage: Callable[[Path, ObjectCache], None], cache: ObjectCache
) -> None:
    cache.put(ORIGIN, CODE)
    damage(entry(cache), cache)
    with pytest.warns(UserWarning, match="cache of compiled code: .*made anew"):
        assert cache.get(ORIGIN) is None
    assert cache.get(ORIGIN) is None  # and says nothing more
    cache.put(ORIGIN, CODE)
    assert cache.get(ORIGIN) == CODE


@pytest.mark.usefixtures("settled")
def test_a_step_whose_entries_are_damaged_is_compiled_again(cache: ObjectCache) -> None:
    first = gc.compile(graph())(X)
    for file in cache.directory.iterdir():
        _flipped(file, -1)
    with pytest.warns(UserWarning, match="damaged"):
        assert gc.compile(graph())(X).tobytes() == first.tobytes()
    assert gc.compile(graph())(X).tobytes() == first.tobytes()


def _of_someone_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(mode=0o700)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)


def _link_to_a_good_one(folder: Path, _: pytest.MonkeyPatch) -> None:
    (folder.parent / "good").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "good")


def _with_mode(mode: int) -> Callable[[Path, pytest.MonkeyPatch], None]:
    def make(folder: Path, _: pytest.MonkeyPatch) -> None:
        folder.mkdir()
        folder.chmod(mode)

    return make


DIRECTORIES: dict[str, tuple[Callable[[Path, pytest.MonkeyPatch], Any], str]] = {
    "of another user": (_of_someone_else, "belongs to user"),
    "a link": (_link_to_a_good_one, "a link or not a directory"),
    "a file": (lambda folder, _: folder.write_text(""), "a link or not a directory"),
    "that others read": (_with_mode(0o750), "mode 750"),
    "that others write": (_with_mode(0o702), "mode 702"),
    "in a file": (lambda folder, _: folder.parent.rmdir() or folder.parent.write_text(""), ""),
}


@pytest.mark.parametrize(("make", "reason"), DIRECTORIES.values(), ids=DIRECTORIES.keys())
def test_a_directory_that_is_not_the_users_alone_is_not_used(
    make: Callable[[Path, pytest.MonkeyPatch], Any],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "parent" / "cache"
    folder.parent.mkdir()
    make(folder, monkeypatch)
    cache = ObjectCache(folder)
    with pytest.warns(UserWarning, match=reason):
        cache.put(ORIGIN, CODE)
    with pytest.warns(UserWarning, match=reason):
        assert cache.get(ORIGIN) is None
    assert reason in str(cache)
    assert not [p for p in tmp_path.rglob("*") if p.suffix == ".code"]


def test_nobody_else_can_read_or_write_what_is_made(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        cache = ObjectCache(tmp_path / "home" / ".cache" / "graphc")
        cache.put(ORIGIN, CODE)
    finally:
        os.umask(before)
    assert cache.directory.stat().st_mode & 0o777 == 0o700
    assert entry(cache).stat().st_mode & 0o777 == 0o600


# -- what an entry depends on ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (llvm, "get_host_cpu_name", lambda: "another processor"),
        (llvm, "get_process_triple", lambda: "another-system"),
        (llvm, "llvm_version_info", (1, 2, 3)),
        (llvmlite, "__version__", "0.0"),
        (engine, "host_feature_text", lambda: "-avx2"),
        (engine, "OPTIMIZATION", 0),
        (engine, "PASSES", ()),
    ],
)
def test_code_of_another_machine_or_compiler_is_not_found(
    owner: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = engine.host_facts.__wrapped__()
    monkeypatch.setattr(owner, name, value)
    assert engine.host_facts.__wrapped__() != here


def test_another_text_is_another_origin() -> None:
    origins = {engine.code_origin(engine.digest_of(text)) for text in ("", "a", "b")}
    assert len(origins) == 3


@pytest.mark.usefixtures("settled")
def test_a_record_depends_on_the_graph_the_pipeline_the_settings_and_the_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = record_origin(graph(), SMALL)
    assert same is not None and record_origin(graph(), SMALL) == same
    others = [record_origin(graph("exp"), SMALL)]
    others.append(record_origin(graph(), Pipeline(SMALL.passes[:-1])))
    with monkeypatch.context() as patch:
        patch.setattr(step_record, "_sources", lambda: "another digest")
        others.append(record_origin(graph(), SMALL))
    with monkeypatch.context() as patch:
        patch.setattr(step_record, "INDIFFERENT", ())
        others.append(record_origin(graph(), SMALL))
    assert len({same, *others}) == 5 and None not in others


class Elsewhere(type(SMALL.passes[0])):  # type: ignore[misc]
    """A pass from elsewhere."""


@pytest.mark.usefixtures("settled")
def test_nothing_is_recorded_of_what_the_origin_cannot_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(OPERATORS, "the user's own", OPERATORS["input"].__class__())
        assert record_origin(graph(), SMALL) is None
    assert record_origin(graph(), Pipeline((Elsewhere(),))) is None
    with monkeypatch.context() as patch:
        patch.setenv("GRAPHC_VERIFY", "1")
        assert record_origin(graph(), SMALL) is None
    with monkeypatch.context() as patch:
        patch.setattr(step_record, "_sources", lambda: None)
        assert record_origin(graph(), SMALL) is None


def test_sources_that_changed_while_they_ran_are_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_record, "SOURCES", (tmp_path,))
    assert step_record._sources.__wrapped__() is None  # none there at all
    file = tmp_path / "pass.py"
    file.write_text("1")
    os.utime(file, (0, 0))
    first = step_record._sources.__wrapped__()
    file.write_text("2")
    assert step_record._sources.__wrapped__() is None
    os.utime(file, (0, 0))
    assert step_record._sources.__wrapped__() not in (None, first)


# -- where, how much, whether ----------------------------------------------------------------------


def _aged(cache: ObjectCache, *origins: bytes) -> None:
    """Puts entries; each was last used a second after the one before."""
    for second, origin in enumerate(origins):
        before = set(cache.directory.iterdir()) if cache.directory.exists() else set()
        cache.put(origin, CODE)
        (new,) = set(cache.directory.iterdir()) - before
        os.utime(new, (second, second))


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache", limit=3 * len(CODE) + 1000)
    _aged(cache, b"first", b"second", b"third")
    assert cache.get(b"first") == CODE
    cache.put(b"fourth", CODE)
    kept = [o for o in (b"first", b"second", b"third", b"fourth") if cache.get(o)]
    assert kept == [b"first", b"third", b"fourth"]


def test_other_files_are_left_alone_and_unfinished_ones_are_not(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache", limit=2 * len(CODE) + 1000)
    cache.put(ORIGIN, CODE)
    (cache.directory / "notes.txt").write_bytes(bytes(9000))
    left = cache.directory / f"{'0' * 64}.code.{'1' * 16}"
    left.write_bytes(CODE)
    os.utime(left, (0, 0))
    cache.put(b"second", CODE)
    assert not left.exists() and (cache.directory / "notes.txt").exists()
    assert cache.get(ORIGIN) == cache.get(b"second") == CODE


def test_what_is_larger_than_the_limit_is_not_kept(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache", limit=100)
    cache.put(ORIGIN, CODE)
    assert cache.get(ORIGIN) is None


def test_off_writes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GRAPHC_CACHE", "off")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    gc.compile(graph())(X)
    assert object_cache() is None and not list(tmp_path.iterdir())
    assert LLVMBackend().describe()["cache"] == "off"


def test_the_default_is_in_the_users_cache_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    def directory() -> str:
        found = object_cache()
        assert found is not None
        return str(found.directory)

    monkeypatch.delenv("GRAPHC_CACHE")
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/ada")
    assert directory() == "/var/ada/graphc"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert directory() == "/home/ada/.cache/graphc"
    monkeypatch.setenv("GRAPHC_CACHE", "~/code")
    assert directory() == "/home/ada/code"


def test_the_backend_says_where_the_cache_is_and_how_large(cache: ObjectCache) -> None:
    cache.put(ORIGIN, bytes(1_200_000))
    assert LLVMBackend().describe()["cache"] == f"{cache.directory} (1 entries, 1.2 MB)"


# -- several at once -------------------------------------------------------------------------------


@pytest.fixture
def switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_threads_share_a_full_cache(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache", limit=4 * len(CODE))
    origins = [bytes([k]) for k in range(8)]
    wrong: list[bytes] = []

    def work(first: int) -> None:
        for k in range(24):
            origin = origins[(first + k) % len(origins)]
            cache.put(origin, origin + CODE)
            if cache.get(origin) not in (None, origin + CODE):
                wrong.append(origin)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert sum(p.stat().st_size for p in cache.directory.iterdir()) <= cache.limit


PROCESS = f"""
import os, sys, numpy as np, graphc as gc
x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
text = {TEXT!r}
def show(op):
    run = gc.compile(gc.parse(text.replace("{{op}}", op)), threads=1)
    os.write(1, run(x).tobytes().hex().encode() + b"\\n")
show("tanh")
child = os.fork()
show("exp")
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_processes_and_their_forks_share_a_cache(cache: ObjectCache) -> None:
    folders = os.pathsep.join(str(ROOT / f) for f in ("", "frontends", "backends"))
    environment = os.environ | {"PYTHONPATH": folders}
    command = [sys.executable, "-W", "error", "-c", PROCESS]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=120) for process in started]
    tanh, exp = (gc.compile(graph(op))(X).tobytes().hex() for op in ("tanh", "exp"))
    for out, err in said:
        assert (out.decode().split(), err) == ([tanh, exp, exp], b"")
    assert all(p.suffix == ".code" for p in cache.directory.iterdir())

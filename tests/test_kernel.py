"""The native pass is built whole or not at all, and a library of other sources is not loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench import kernel
from workbench.kernel import build

WORD = "import workbench, numpy; from workbench.kernel import in_use; print(in_use())"


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=True
    )


def test_records_name_the_pass_that_is_in_use() -> None:
    assert kernel.in_use() == ("jax" if kernel.library() is None else f"native {build.digest()[:12]}")
    done = run(WORD, WORKBENCH_NATIVE="0")
    assert done.stdout == "jax\n"
    # Whoever switches it off needs no warning.
    assert "native pass" not in done.stderr


def test_the_native_pass_is_built_where_it_can_be() -> None:
    # Where there is none its tests are skipped, which must not happen where the set-up has a compiler.
    can = any(True for _ in build._compilers()) and not kernel.is_switched_off()
    assert not can or kernel.library() is not None


def test_comments_of_the_sources_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    digests = []
    for text in ("int a;", "int a;  // a comment", "int\n  a;", "int b;"):
        (tmp_path / "one.h").write_text(text)
        build.digest.cache_clear()
        digests.append(build.digest())
    build.digest.cache_clear()
    assert digests[0] == digests[1] == digests[2] != digests[3]


@pytest.mark.parametrize(
    "file", sorted([*build.FOLDER.glob("*.h"), *build.FOLDER.glob("*.cc")]), ids=lambda file: file.name
)
def test_sources_have_the_length_of_lines_and_files_of_all_code(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 350
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("text", [None, b"", b"no library"])
def test_a_library_that_is_missing_or_damaged_is_said_and_left_out(tmp_path: Path, text: bytes | None) -> None:
    file = tmp_path / "_pass.so"
    if text is not None:
        file.write_bytes(text)
    reason = kernel._loaded(file)
    assert isinstance(reason, str)
    assert ("is not built" in reason) == (text is None)


@pytest.mark.skipif(kernel.library() is None, reason="the native pass is not built")
def test_a_library_that_was_cut_short_is_not_loaded(tmp_path: Path) -> None:
    whole = (kernel.FOLDER / kernel.LIBRARY).read_bytes()
    file = tmp_path / kernel.LIBRARY
    file.with_suffix(build.SEAL).write_bytes((kernel.FOLDER / kernel.LIBRARY).with_suffix(build.SEAL).read_bytes())
    file.write_bytes(whole[:20_000])
    assert kernel._loaded(file) == "is damaged"
    file.write_bytes(whole)
    assert not isinstance(kernel._loaded(file), str)


@pytest.mark.skipif(kernel.library() is None, reason="the native pass is not built")
def test_a_library_of_other_sources_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "digest", lambda: "of other sources")
    assert kernel._loaded(kernel.FOLDER / kernel.LIBRARY) == "was built from other sources"


def test_a_compiler_that_fails_is_named_and_leaves_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", f"{sys.executable} -c 'raise SystemExit(3)'")
    reason = build.build(tmp_path / "_pass.so")
    assert reason is not None
    assert "SystemExit" in reason or "exit status 3" in reason
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compiler", ["'unclosed", "/bin/true", " /nowhere/c++ "])
def test_a_compiler_that_is_none_is_a_reason(compiler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", compiler)
    assert build.build(tmp_path / "_pass.so")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", ["0", "off", "False"])
def test_the_switch_reads_what_jax_reads(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kernel.SWITCH, word)
    assert kernel.is_switched_off()


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["-fsanitize=address,undefined -fno-sanitize-recover=all -g"])
def test_sanitizers_find_nothing(tmp_path: Path, flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = next(iter(build._compilers()), None)
    if compiler is None or "ziglang" in compiler:
        pytest.skip("no system compiler with sanitizers")
    # The sanitizer looks for the runtime of C++, which other extensions throw by, when it is loaded itself.
    libraries = []
    for name in ("libasan.so", "libstdc++.so"):
        found = subprocess.run([*compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=False)
        if not Path(found.stdout.strip()).is_absolute():
            pytest.skip(f"no {name}")
        libraries.append(found.stdout.strip())
    monkeypatch.setenv("CXX", f"{' '.join(compiler)} {flags}")
    target = tmp_path / "_pass.so"
    assert build.build(target) is None
    tests = Path(__file__).parent / "engine" / "test_native.py"
    code = f"""
import sys
from pathlib import Path
import pytest
from workbench import kernel
kernel.FOLDER = Path({str(tmp_path)!r})
assert kernel.library() is not None
sys.exit(pytest.main(["-qxs", "-n0", "-p", "no:cacheprovider", "-k", "any_shape or remainder", {str(tests)!r}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        # Python's own memory is not freed at exit.
        env=os.environ | {"LD_PRELOAD": " ".join(libraries), "ASAN_OPTIONS": "detect_leaks=0"},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[:2000]

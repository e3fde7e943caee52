"""An animation as a file: its frames, its formats, and what is refused before a frame is drawn."""

import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from workbench.cli import cli
from workbench.compare import Comparison
from workbench.errors import InputError
from workbench.plots.animation import HELD, PER_SECOND
from workbench.report import Look, animation, figure, film_of, save_film
from workbench.report.animated import DOTS_PER_INCH


@pytest.fixture(scope="module")
def comparison(tiny_run: tuple[Path, Comparison]) -> Comparison:
    return tiny_run[1]


def plot(*words: object) -> Result:
    return CliRunner().invoke(cli, ["plot", *map(str, words)], prog_name="workbench", catch_exceptions=False)


def test_a_gif_has_every_frame_and_holds_the_last(comparison: Comparison, tmp_path: Path) -> None:
    film = film_of(comparison, Look(size=(6.0, 3.0)))
    seen: list[tuple[int, int]] = []
    path = save_film(film, tmp_path / "deep" / "em.gif", lambda done, total: seen.append((done, total)))
    assert film.num_frames > 5 and seen == [(i, film.num_frames) for i in range(film.num_frames)]
    assert [each.name for each in path.parent.iterdir()] == ["em.gif"]
    with Image.open(path) as made:
        assert made.size == (6 * DOTS_PER_INCH, 3 * DOTS_PER_INCH)
        frames, times = [], []
        for i in range(made.n_frames):
            made.seek(i)
            frames.append(np.asarray(made.convert("L")))
            times.append(made.info["duration"])
    assert len(frames) == film.num_frames
    assert all(not np.array_equal(one, other) for one, other in pairwise(frames))
    # A GIF counts in hundredths of a second.
    assert times == pytest.approx([1000 / PER_SECOND] * (len(times) - 1) + [HELD], abs=10)


def test_every_title_has_room_in_the_figures_own_size(comparison: Comparison) -> None:
    for look in (Look(), Look(legend="right"), Look(legend=False), Look(methods=["em"], legend="inside")):
        film = film_of(comparison, look)
        made = film._figure
        for frame in range(film.num_frames):
            film.draw(frame)
            made.draw_without_rendering()
            boxes = [ax._left_title.get_window_extent() for ax in made.axes]
            assert all(made.bbox.x0 <= box.x0 and box.x1 <= made.bbox.x1 for box in boxes)
            assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
        assert len(made.axes) == len(look.methods or ("em", "ascent"))


def test_an_mp4_is_what_ffmpeg_makes_of_the_frames(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = film_of(comparison, Look(size=(4.0, 3.0), methods=["em"]))
    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"em.mp4: needs ffmpeg, which is not installed here; install it, or give"):
        save_film(film, tmp_path / "em.mp4")
    assert list(tmp_path.iterdir()) == []
    # A stand-in that keeps the frames as they come.
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[-1], 'wb').write(sys.stdin.buffer.read())\n")
    program.chmod(0o755)
    monkeypatch.setitem(matplotlib.rcParams, "animation.ffmpeg_path", str(program))
    sent = save_film(film, tmp_path / "em.mp4").read_bytes()
    assert len(sent) == film.num_frames * 4 * (4 * DOTS_PER_INCH) * (3 * DOTS_PER_INCH)


def test_the_command_writes_an_animation_and_refuses_in_one_message(
    tiny_run: tuple[Path, Comparison], tmp_path: Path
) -> None:
    folder, comparison = tiny_run
    out = tmp_path / "em.gif"
    result = plot(folder, "--figure", "animation", "--methods", "em", "--palette", "tab10", "--out", out)
    assert (result.exit_code, result.stdout.strip(), result.stderr) == (0, str(out), "")
    with Image.open(out) as made:
        assert made.n_frames == film_of(comparison, Look(methods=["em"])).num_frames
    before = out.read_bytes()
    for words, message in (
        (["--out", tmp_path / "em.pdf"], "suffix '.pdf' is no format of an animation; give .gif, .mp4"),
        (["--format", "svg"], "suffix '.svg' is no format of an animation; give .gif, .mp4"),
        (["--out", out, "--methods", "nuts"], "methods: nuts: draws from a posterior and climbs to no end"),
        (["--out", out, "--methods", "em,em"], "--methods: em: given twice"),
        (
            ["--out", out, "--method", "em"],
            "method: the figure 'animation' has palette, legend, columns, methods",
        ),
        (["--out", out, "--size", "1x1"], "size: 1x1 is too small for the figure 'animation'"),
    ):
        result = plot(folder, "--figure", "animation", *words)
        assert result.exit_code == 2 and message in " ".join(result.stderr.split()), result.output
        assert result.stderr.count("Error") == 1 and "Warning" not in result.stderr
    assert out.read_bytes() == before
    result = plot(folder, "--figure", "fit", "--out", out)
    assert result.exit_code == 2 and "suffix '.gif' is no format; give .png, .pdf, .svg" in result.stderr


def test_python_is_told_which_function_moves(comparison: Comparison) -> None:
    with pytest.raises(InputError, match=r"'animation' is no figure but moves; workbench.report.animation\(results\)"):
        figure(comparison, "animation")
    with pytest.raises(InputError, match="legend: unknown 'below'"):
        animation(comparison, legend="below")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'animation' is of an experiment; a choice of K has no climbs"):
        film_of(None, Look())

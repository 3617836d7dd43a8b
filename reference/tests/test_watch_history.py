"""The history of a watch: what is written, what `python -m seem watch` makes of it, and files that are none."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from reference.tests.test_watch import ROWS, simple
from reference.tests.watch_cases import Loop
from seem.errors import InputError
from seem.plots import plot_watch, save_figure
from seem.records import read_lines
from seem.watch import Watch
from seem.watch_history import read_history, table


def watched(path, steps=260, **options):
    """The file of a run that diverges."""
    loop = Loop(seed=1)
    watch = Watch(training=loop.training, every=20, on_alarm=lambda alarm: None, file=path, **options)
    loop.train(steps, watch)
    return watch


def command(*arguments, **variables):
    ran = [sys.executable, "-m", "seem", "watch", *map(str, arguments)]
    return subprocess.run(ran, capture_output=True, text=True, env=os.environ | variables, check=False)


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    path = tmp_path_factory.mktemp("watch") / "history.jsonl"
    return path, watched(path)


def test_the_file_holds_every_entry_and_what_each_alarm_said(history):
    path, watch = history
    lines = read_history(path)
    assert [line.entry for line in lines] == watch.history
    texts = [line for line in lines if line.text]
    assert [line.kind for line in texts] == ["about to leave", "past what can be earned"]
    assert texts[-1].text.startswith(f"at step {texts[-1].step:.0f} mean |Q| is")
    assert lines[-1].kind == watch.alarm.kind


def test_the_file_is_written_at_every_reading(tmp_path):
    critic, watch = simple(file=tmp_path / "history.jsonl")
    for step in range(3):
        entry = watch.read(critic, ROWS, step)
        assert read_lines(tmp_path / "history.jsonl")[-1] == entry


def test_the_command_prints_the_table_and_draws_the_picture(history):
    path, watch = history
    ran = command(path)
    assert ran.returncode == 0, ran.stderr
    rows = ran.stdout.splitlines()
    assert rows[0].split()[:3] == ["step", "mean", "|Q|"]
    assert len([row for row in rows[1:] if row[:9].strip().isdigit()]) == len(watch.history)
    assert rows[1 : len(watch.history) + 1][-1].endswith("past what can be earned")
    assert "What to do: put LayerNorm" in ran.stdout
    picture = path.with_name("history.jsonl.png")
    assert rows[-1] == f"the picture is {picture}"
    with Image.open(picture) as image:
        assert image.size[0] > 800


def test_the_picture_shows_readings_forecasts_and_alarms(history):
    path, watch = history
    figure = plot_watch(read_history(path), "history.jsonl")
    seem, share, forecast = figure.axes
    (values,) = [line.get_ydata() for line in share.get_lines() if line.get_label() == "mean |Q| / bound"]
    assert values == pytest.approx([entry["share_of_bound"] for entry in watch.history])
    points = next(line for line in forecast.get_lines() if line.get_label() == "leaves the bound at")
    named = [y for y in points.get_ydata() if math.isfinite(y)]
    assert named == [entry["leaves_at"] for entry in watch.history if "leaves_at" in entry]
    labels = seem.get_legend_handles_labels()[1]
    assert {"SEEM", "about to leave", "past what can be earned"} <= set(labels)
    marks = [line.get_xdata()[0] for line in share.get_lines() if line.get_linestyle() == "-."]
    assert marks == [line.step for line in read_history(path) if line.text]


def test_a_run_that_overflows_is_drawn_and_printed(tmp_path):
    lines = [{"step": 0, "mean_abs_q": 1.0, "share_of_bound": 0.1, "seem": 1.0}]
    lines += [{"step": 10, "mean_abs_q": "inf", "share_of_bound": "inf", "seem": 1e300, "alarm_not_finite": 1.0}]
    (tmp_path / "h").write_text("".join(json.dumps(line) + "\n" for line in lines))
    read = read_history(tmp_path / "h")
    assert read[1].kind == "not finite"
    assert list(table(read))[2].split()[:4] == ["10", "inf", "inf", "1e+300"]
    save_figure(plot_watch(read), tmp_path / "h.png")


def test_powers_of_ten_on_the_axes_are_drawn_as_such(history, tmp_path):
    figure = plot_watch(read_history(history[0]), "$file$")
    save_figure(figure, tmp_path / "h.png")
    powers = [label for axis in figure.axes for label in axis.get_yticklabels() if "mathdefault" in label.get_text()]
    assert powers
    assert all(label.get_parse_math() for label in powers)
    assert not figure._suptitle.get_parse_math()


def test_steps_alone_are_drawn(tmp_path):
    (tmp_path / "h").write_text('{"step":0}\n')
    save_figure(plot_watch(read_history(tmp_path / "h")), tmp_path / "h.png")


def test_a_torn_last_line_is_left_out(tmp_path):
    (tmp_path / "h").write_text('{"step":0,"seem":1.0}\n{"step":1,"se')
    assert len(read_history(tmp_path / "h")) == 1


DAMAGED = {
    "empty": "",
    "torn from the first": '{"step":0',
    "no JSON": "hello\n",
    "no object": "[1]\n",
    "without a step": '{"seem":1.0}\n',
    "a step that is text": '{"step":"soon"}\n',
    "an infinite step": '{"step":"inf"}\n',
    "a step too large": '{"step":1' + 400 * "0" + "}\n",
    "a truth for a number": '{"step":1,"seem":true}\n',
    "a list for a number": '{"step":1,"seem":[1]}\n',
    "an alarm without words": '{"step":1,"alarm":{}}\n',
    "an alarm that is text": '{"step":1,"alarm":"x"}\n',
    "steps that fall": '{"step":5}\n{"step":4}\n',
    "the same step twice": '{"step":5}\n{"step":5}\n',
    "nested without end": '{"step":' + 100_000 * "[" + "\n",
    "no text": b"\xff\xfe\x00\n",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_no_history_is_refused_in_one_sentence(tmp_path, kind):
    content = DAMAGED[kind]
    (tmp_path / "h").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as refused:
        read_history(tmp_path / "h")
    assert str(tmp_path / "h") in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("kind", ["missing", "a folder", "a pipe", "damaged"])
def test_the_command_ends_with_status_2(tmp_path, kind):
    path = tmp_path / "h"
    {
        "missing": lambda: None,
        "a folder": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
        "damaged": lambda: path.write_text("hello\n"),
    }[kind]()
    ran = command(path)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert ran.stderr.startswith("error: ")
    assert len(ran.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("*.png"))


def test_the_picture_does_not_take_the_place_of_the_history(tmp_path):
    path = tmp_path / "h.png"
    path.write_text('{"step":0}\n')
    ran = command(path, "--picture", path)
    assert ran.returncode == 2
    assert path.read_text() == '{"step":0}\n'


def test_what_an_alarm_says_moves_no_cursor(tmp_path):
    (tmp_path / "h").write_text(json.dumps({"step": 1, "alarm": {"text": "\x1b[2Jgone\n"}}) + "\n")
    assert list(table(read_history(tmp_path / "h")))[-1] == "?[2Jgone?"


def full_disk(path: Path) -> Path:
    path.symlink_to("/dev/full")
    return path


@pytest.mark.parametrize(
    "place",
    [full_disk, lambda path: path / "no" / "folder", lambda path: path.mkdir() or path],
    ids=["a full disk", "no folder", "a folder"],
)
def test_where_no_history_can_be_written_it_is_said_once_and_training_goes_on(tmp_path, place):
    critic, watch = simple(file=place(tmp_path / "h"))
    with pytest.warns(UserWarning, match="keeps no history any more, and training goes on"):
        watch.read(critic, ROWS, 0)
    for step in range(1, 4):  # a second warning would be an error here
        assert watch.read(critic, ROWS, step)["step"] == step
    assert len(watch.history) == 4


def test_a_file_of_another_training_is_not_added_to(tmp_path):
    path = tmp_path / "h"
    path.write_text('{"step":50}\n')
    critic, watch = simple(file=path)
    with pytest.warns(UserWarning, match="already reaches step 50"):
        watch.read(critic, ROWS, 0)
    assert path.read_text() == '{"step":50}\n'
    critic, watch = simple(file=path)
    watch.read(critic, ROWS, 60)  # a training that was resumed
    assert [line.step for line in read_history(path)] == [50, 60]


def test_a_file_that_is_cut_while_training_goes_on(tmp_path):
    path = tmp_path / "h"
    critic, watch = simple(file=path)
    watch.read(critic, ROWS, 0)
    path.write_text('{"step":0,')
    with pytest.warns(UserWarning, match="keeps no history"):
        watch.read(critic, ROWS, 1)


@pytest.mark.parametrize("file", ["", "~no-such-user-here/h"])
def test_no_path_is_refused(file):
    with pytest.raises(InputError):
        simple(file=file)

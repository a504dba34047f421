"""Progress: a line for each step in a log, a bar on a terminal, and no thread beside what is measured."""

import threading

import pytest

from xaimed_bench.progress import Steps, over_images


def walk(steps, fake_clock, seconds):
    for i, took_s in enumerate(seconds):
        steps.begin("abc"[i])
        fake_clock.now += took_s


def test_a_log_has_a_line_for_each_step_and_the_time_left_follows_the_pace(fake_clock, capsys):
    with Steps("run", 3) as steps:
        walk(steps, fake_clock, (60, 120, 1))
    lines = ["run 1 of 3: a", "run 2 of 3: b, 0:02:00 left", "run 3 of 3: c, 0:01:30 left"]
    assert capsys.readouterr() == ("", "\n".join([*lines, ""]))


def test_many_short_steps_do_not_flood_a_log(fake_clock, capsys):
    with Steps("kernel", 3, short=True) as steps:
        walk(steps, fake_clock, (1, 10, 1))
    assert [line.partition(",")[0] for line in capsys.readouterr().err.splitlines()] == [
        "kernel 1 of 3: a",
        "kernel 3 of 3: c",
    ]


def test_names_are_no_markup_and_long_lines_stay_whole(capsys):
    name = "explaining a batch[xgradcam-resnet50-last-4-224] " * 4
    with Steps("case", 1) as steps:
        steps.begin(name)
    assert capsys.readouterr().err == f"case 1 of 1: {name}\n"


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_terminal_has_a_bar_without_a_thread_and_gets_its_cursor_back(interrupted, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # by which rich takes the output for a terminal
    monkeypatch.setenv("TERM", "xterm")
    threads = threading.active_count()
    try:
        with Steps("run", 2) as steps:
            steps.begin("alike[1]")
            assert threading.active_count() == threads
            if interrupted:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        assert interrupted
    err = capsys.readouterr().err
    assert "run 1 of 2: alike[1]" in err
    assert err.rindex("\x1b[?25h") > err.rindex("\x1b[?25l")


def test_reading_many_images_redraws_a_bar_now_and_then_and_no_name_steers_it(
    fake_clock, monkeypatch, capsys
):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with over_images("reading image", 1000, shown=True) as steps:
        for i in range(1000):
            steps.begin(f"{i}\x1b]0;title\x07.png")
            fake_clock.now += 0.001
    err = capsys.readouterr().err
    assert "\x1b]0;" not in err
    assert 5 <= err.count("reading image ") <= 15


@pytest.mark.parametrize(
    ("count", "watched", "shown"), [(64, True, True), (63, True, False), (64, False, False)]
)
def test_reading_is_shown_of_many_images_to_who_watches(count, watched, shown, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: watched, raising=False)
    with over_images("reading image", count) as steps:
        steps.begin("a.png")
    assert ("reading image" in capsys.readouterr().err) is shown

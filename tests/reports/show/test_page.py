"""The page: one file, whole, that asks for nothing, in a parser and in a browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from xaimed_bench.cli import main
from xaimed_reports.show.figures import Point, scatter
from xaimed_reports.show.page import page
from xaimed_reports.show.pictures import load_pictures
from xaimed_reports.show.summary import sentences
from xaimed_reports.store.load import pictures_path
from xaimed_reports.store.records import Conditions

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Outline(HTMLParser):
    """Collects what a page refers to, and whether its tags close."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.tags, self.images = [], [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [found[k] for k in ("src", "href", "action", "xlink:href") if k in found]
        self.images += [found] if tag == "img" else []
        self.open += [] if tag in ("meta", "img") else [tag]
        if tag == "svg":
            assert found["role"] == "img"
            assert found["aria-label"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def with_pictures(pair, tmp_path):
    file = tmp_path / "out.json"
    key = pair.rows[0].case.key
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8)
    shown = {f"{key}/image": np.zeros((8, 8, 3), np.uint8), f"{key}/map, xaimed": ramp}
    np.savez_compressed(pictures_path(file), **shown)
    return file


def test_the_page_is_one_file_that_asks_for_nothing(pair, with_pictures):
    text = page(pair, load_pictures(with_pictures))
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert "script" not in outline.tags
    assert outline.images
    assert all(image["alt"] for image in outline.images)
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in outline.addresses)
    assert not re.search(r"@import|url\(|https?:", text)


def test_the_page_has_every_part(pair, with_pictures):
    text = page(pair, load_pictures(with_pictures))
    for part in ("times faster", "What fidelity costs", "Maps", "Every sample", "machine", "verdicts mean"):
        assert part in text
    for sentence in sentences(pair):
        assert sentence in text
    assert text.count("<use") >= 12
    lanes = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    assert {"xaimed", "plain forward"} <= set(lanes)
    assert "ours" not in lanes


def test_the_samples_say_what_they_were_taken_under(make_run, make_row):
    held = {"throttled_by before": "", "throttled_by after": "power cap"}
    clocks = {"sm_mhz": (1500.0, 1400.0), "temperature_c": (60.0, 71.0)}
    conditions = Conditions(1.5, 0.25, 0.01, 3, 2, gpu=held, gpu_by_block=clocks)
    text = page(make_run(make_row(conditions=conditions, carry_over=1.04)), {})
    for said in ("first call 1 s", "warm-up 500 ms", "interleaved", "cache as the arm before left it"):
        assert said in text
    for said in (
        "carry-over 1.040",
        "other processes 1%",
        "250 ms stolen",
        "load 1.5",
        "3 involuntary switches",
    ):
        assert said in text
    for said in ("throttled by power cap", "sm mhz", "temperature c"):
        assert said in text


def test_a_page_without_images_holds_none(store, pair, with_pictures, tmp_path):
    store(pair, with_pictures)
    whole, bare = tmp_path / "whole.html", tmp_path / "bare.html"
    assert main(["report", str(with_pictures), "--html", str(whole)]) == 0
    assert main(["report", str(with_pictures), "--html", str(bare), "--no-images"]) == 0
    assert "<img" in whole.read_text()
    assert "<img" not in bare.read_text()


@pytest.mark.parametrize("values", [(1.0,), (0.97, 1.02), (1e-9, 1e9), (3.0, 500.0)])
def test_drawings_say_every_point_between_few_ticks(values):
    points = [Point(f'<case> "{v:g}" $x$', v, v, ours=True) for v in values]
    text = scatter(points, [], x_name="cost", y_name="distance")
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert all(f"<title>&lt;case&gt; &quot;{v:g}&quot; $x$</title>" in text for v in values)
    words = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    assert {"cost", "distance"} < set(words)
    assert 2 <= sum(word.endswith("x") for word in words) <= 8
    assert text == scatter(points, [], x_name="cost", y_name="distance")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_the_page_without_errors_or_requests(pair, with_pictures, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(pair, load_pictures(with_pictures)))
    assert CHROMIUM is not None
    log = tmp_path / "net.json"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", "--window-size=390,900",
        f"--screenshot={tmp_path / 'page.png'}", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert "CONSOLE" not in done.stderr
    hosts = set(re.findall(r'"url":"https?://([^/"]+)', log.read_text()))
    assert {h for h in hosts if not h.endswith((".google.com", ".googleapis.com"))} == set()  # its own

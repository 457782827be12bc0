"""The report as a person sees it: a real browser draws every chart inside the page's width."""

import re
import shutil
import subprocess

import pytest
import worlds
from absence import skip_unless_ci
from walks import prices, walk

from stream_allocator.backtest.report import Origin, render
from stream_allocator.backtest.summary import summarise

#: Measures what is on the screen, and writes it where --dump-dom shows it.
PROBE = """
<script>
addEventListener("load", () => {
  const charts = [...document.querySelectorAll("svg")].map(s => s.getBoundingClientRect());
  const drawn = charts.filter(r => r.width > 100 && r.height > 20 && r.right <= innerWidth + 1).length;
  const wide = document.documentElement.scrollWidth > innerWidth + 1;
  const seen = `<output id="probe">${charts.length} ${drawn} ${wide}</output>`;
  document.body.insertAdjacentHTML("beforeend", seen);
});
</script>
"""
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,3000",
]


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium")
    if program is None:
        skip_unless_ci("no Chromium to look at the page with")
    return program


def test_every_chart_is_drawn_and_nothing_is_wider_than_the_screen(browser, tmp_path):
    run = walk(prices(worlds.returns(420, shift=200)))
    origin = Origin("Title", "made up", "d" * 64, "By hand.", "make demo")
    page = render(run, run.portfolios[0], summarise(run, run.portfolios[0]), origin)
    file = tmp_path / "report.html"
    file.write_text(page.replace("</body>", PROBE + "</body>"), "utf-8")
    command = [browser, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", file.as_uri()]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<output id="probe">(\d+) (\d+) (\w+)</output>', seen)
    assert found is not None, seen[-500:]
    charts, drawn, wide = found.groups()
    assert int(charts) == page.count("<svg") > 4
    assert drawn == charts
    assert wide == "false"

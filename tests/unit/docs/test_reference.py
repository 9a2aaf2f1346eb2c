"""The pages that are made from the code are as the code makes them."""

import re

from tests.support.documents import ROOT
from tools.reference import REFERENCE, SIZING, render_reference, render_sizing

ADVICE = "run `make reference`, and read the difference"


def test_the_reference_names_what_the_code_has() -> None:
    assert REFERENCE.read_text() == render_reference(), ADVICE


def test_the_figures_on_sizing_are_those_that_were_measured() -> None:
    page = SIZING.read_text()
    assert page == render_sizing(page), ADVICE


def test_the_charts_readme_explains_every_value() -> None:
    section = (ROOT / "charts/kagenti-operator/README.md").read_text().partition("\n## Values\n")[2]
    explained: set[str] = set()
    for name in re.findall(r"`([A-Za-z][\w.{},]*)`", section.partition("\n## ")[0]):
        before, brace, rest = name.partition("{")
        explained |= {before + part for part in rest.rstrip("}").split(",")} if brace else {name}
    values = REFERENCE.read_text().partition("\n## Chart values\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([^`]+)`", values, re.MULTILINE))
    # An image is written as its two values together.
    explained |= {f"controllerManager.container.image.{part}" for part in ("repository", "tag")}
    assert named - explained == set()


def test_every_metric_and_every_event_is_also_on_the_page_that_says_what_to_do() -> None:
    reference = REFERENCE.read_text()
    metrics = set(re.findall(r"^\| `(kagenti_\w+)`", reference, re.MULTILINE))
    assert metrics
    assert metrics - set(re.findall(r"`(kagenti_\w+)", (ROOT / "docs/metrics.md").read_text())) == set()
    events = reference.partition("\n## Events\n")[2].partition("\n## ")[0]
    warnings = set(re.findall(r"^\| `(\w+)` \| Warning", events, re.MULTILINE))
    assert warnings
    assert warnings - set(re.findall(r"`(\w+)`", (ROOT / "docs/troubleshooting.md").read_text())) == set()

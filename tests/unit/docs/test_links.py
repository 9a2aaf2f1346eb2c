"""Every link of every document leads to a file that is there, and to a heading of it."""

from pathlib import Path

import pytest

from tests.support.documents import ROOT, find_anchors, find_documents, find_links

DOCUMENTS = find_documents()
CHART = ROOT / "charts" / "kagenti-operator"


def find_dead_links(document: Path) -> list[str]:
    dead: list[str] = []
    for link in find_links(document):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in find_anchors(target)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    assert find_dead_links(document) == []


def test_a_link_to_no_file_and_one_to_no_heading_are_found(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("# A page: `x`\n\n[a](#a-page-x) [b](#b) [c](c.md) [d](page.md#a-page-x)\n")
    assert find_dead_links(document) == ["#b", "c.md"]


def test_no_link_leads_out_of_the_chart_since_its_readme_is_read_where_only_the_chart_is() -> None:
    for document in CHART.rglob("*.md"):
        inside = [link for link in find_links(document) if not link.startswith("https://")]
        assert [link for link in inside if ".." in link] == []


def test_readme_leads_to_every_page() -> None:
    linked = {link.partition("#")[0] for link in find_links(ROOT / "README.md")}
    pages = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").glob("*.md")}
    assert pages - linked == set()

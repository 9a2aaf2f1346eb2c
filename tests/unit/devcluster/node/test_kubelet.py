"""What the kubelet serves of a log."""

from pathlib import Path

import pytest

from kagenti_devcluster.node.kubelet import tail_offset


@pytest.mark.parametrize(
    ("text", "lines", "tail"),
    [
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\nb\n", 5, "a\nb\n"),
        ("a\nb\n", 0, ""),
        ("", 3, ""),
        ("x" * 100_000 + "\n" + "y" * 100_000 + "\n", 1, "y" * 100_000 + "\n"),
    ],
)
def test_the_last_lines_of_a_log_are_found_from_its_end(
    tmp_path: Path, text: str, lines: int, tail: str
) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    assert path.read_text()[tail_offset(path, lines) :] == tail

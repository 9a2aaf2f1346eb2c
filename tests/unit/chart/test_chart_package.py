"""The chart as a package: what it is installed from where there is no checkout."""

import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_packaged_chart_has_its_readme_whole(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "tools" / "release.py", "chart", tmp_path], check=True)
    [package] = tmp_path.glob("kagenti-operator-*.tgz")
    with tarfile.open(package) as archive:
        file = archive.extractfile("kagenti-operator/README.md")
        assert file is not None
        assert file.read() == (ROOT / "charts" / "kagenti-operator" / "README.md").read_bytes()

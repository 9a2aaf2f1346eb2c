"""The local cluster as it is installed, without this checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path)
    subprocess.run([sys.executable, *build, PROJECT / "devcluster"], check=True)
    (wheel,) = tmp_path.glob("kagenti_devcluster-*.whl")
    source = PROJECT / "devcluster/src"
    files = {str(path.relative_to(source)) for path in source.rglob("*.*") if "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == files

"""Have Go look through the programs in this folder that are our own: `go vet`, and gofmt changes nothing."""

import subprocess
import sys
from pathlib import Path

import build


def main() -> int:
    """Look through each module that has Go code; 1 when something is found."""
    modules = sorted({file.parent for file in build.TOOLS_FOLDER.glob("*/*.go")})
    try:
        go = build.toolchain()
        for module in modules:
            build.run_go([go, "vet", "-mod=readonly", "./..."], module)
    except build.BuildFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    return unformatted(go, modules)


def unformatted(go: str, modules: list[Path]) -> int:
    """Print the files that gofmt would write otherwise; 1 when there are any."""
    gofmt = Path(go).resolve().with_name("gofmt")
    done = subprocess.run([gofmt, "-l", *modules], capture_output=True, text=True, check=True)
    print(done.stdout, end="")
    return 1 if done.stdout else 0


if __name__ == "__main__":
    sys.exit(main())

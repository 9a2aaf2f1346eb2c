"""`python -m authbridge_sidecar --config FILE`: runs until stopped, or dies with one line as the real one."""

import argparse
import asyncio
import sys
from pathlib import Path

from authbridge_sidecar.config import Fatal
from authbridge_sidecar.sidecar import Places, say, serve


def main() -> int:
    """Serve; 1 with the reason where the file or a port does not allow it."""
    parser = argparse.ArgumentParser(prog="authbridge_sidecar")
    parser.add_argument("--config", type=Path, required=True)
    try:
        asyncio.run(serve(Places(parser.parse_args().config)))
    except (Fatal, OSError) as error:
        say("FATAL", str(error))
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

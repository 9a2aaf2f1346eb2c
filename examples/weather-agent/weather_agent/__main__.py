"""`python -m weather_agent`: serve on PORT (8000), as AGENT_URL for whoever reads the agent's card.

With WEATHER_URL the weather comes from a server, which is asked with the caller's token.
"""

import os
import sys

import uvicorn

from weather_agent.agent import Model
from weather_agent.server import build_app


def main() -> int:
    """Serve until stopped."""
    port = int(os.environ.get("PORT", "8000"))
    try:
        model = Model.from_environment()
    except KeyError as missing:
        print(f"weather-agent: {missing.args[0]} is not set: it names the model to ask", file=sys.stderr)
        return 1
    url = os.environ.get("AGENT_URL", f"http://localhost:{port}/")
    app = build_app(model, url, os.environ.get("WEATHER_URL", ""))
    # Every interface of the pod's own network.
    uvicorn.run(app, host=os.environ.get("HOST", "0.0.0.0"), port=port, log_level="info")
    return 0


if __name__ == "__main__":
    sys.exit(main())

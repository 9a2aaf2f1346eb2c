"""A tool for the weather agent that answers only tokens for its own audience.

`KEYS_URL` is the realm's key set, `AUDIENCE` what a token must be for. It logs with which token it was asked:
`preferred_username`, `azp` and `aud`.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt

CELSIUS = {"prague": 17, "london": 13, "rome": 24}
_MOST = 64 * 1024


def check(token: str, keys: jwt.PyJWKClient, audience: str) -> dict[str, Any]:
    """The claims of a token for this tool. Raises jwt.PyJWTError."""
    key = keys.get_signing_key_from_jwt(token)
    return jwt.decode(token, key.key, algorithms=["RS256"], audience=audience)


class Handler(BaseHTTPRequestHandler):
    """POST / with `{"city": ...}`."""

    keys: jwt.PyJWKClient
    audience: str

    def do_GET(self) -> None:
        """Say that it runs."""
        self._answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        """Tell the weather to whoever has a token for this tool."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), _MOST))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            claims = check(token, self.keys, self.audience)
            city = str(json.loads(body)["city"])
        except jwt.PyJWTError as error:
            print(f"refused {error}", file=sys.stderr, flush=True)
            self._answer(401, {"error": str(error)})
            return
        except (ValueError, KeyError, TypeError):
            self._answer(400, {"error": 'the body must be a JSON object such as {"city": "Prague"}'})
            return
        seen = {name: claims.get(name) for name in ("preferred_username", "azp", "aud")}
        print(f"answered {json.dumps(seen)}", file=sys.stderr, flush=True)
        celsius = CELSIUS.get(city.lower())
        found = {"city": city, "temperature_celsius": celsius, "conditions": "sunny"}
        self._answer(200, found if celsius is not None else {"error": f"no weather station in {city}"})

    def log_message(self, format: str, *args: Any) -> None:
        """Probes would fill the log."""

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Serve on PORT (8000)."""
    Handler.keys = jwt.PyJWKClient(os.environ["KEYS_URL"])
    Handler.audience = os.environ["AUDIENCE"]
    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()


if __name__ == "__main__":
    main()

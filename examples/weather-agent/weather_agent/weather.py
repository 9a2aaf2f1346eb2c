"""The tool: the weather of a few cities, always the same, so that an answer can be checked."""

import json
from typing import Any

import httpx

_WEATHER = {
    "berlin": ("Berlin", 14, "light rain", 19),
    "boston": ("Boston", 17, "clear", 11),
    "brno": ("Brno", 18, "partly cloudy", 13),
    "london": ("London", 13, "drizzle", 22),
    "new york": ("New York", 19, "sunny", 14),
    "paris": ("Paris", 16, "overcast", 9),
    "prague": ("Prague", 17, "partly cloudy", 12),
    "rome": ("Rome", 24, "sunny", 8),
    "tokyo": ("Tokyo", 21, "humid and cloudy", 15),
}

NAME = "get_weather"
DESCRIPTION = "Tells the current weather of a city."
DEFINITION: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": NAME,
        "description": DESCRIPTION,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Name of the city, in English"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def get_weather(arguments: str) -> dict[str, Any]:
    """Answer a model's call; `arguments` is what it wrote, which need not be what was asked for.

    The answer has an `error` that a model can act on where the call cannot be answered.
    """
    try:
        city = json.loads(arguments)["city"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return {"error": 'the argument must be a JSON object such as {"city": "Prague"}'}
    found = _WEATHER.get(str(city).strip().lower())
    if found is None:
        return {"error": f"no weather station in {city}", "cities": [name for name, *_ in _WEATHER.values()]}
    name, celsius, sky, wind = found
    return {"city": name, "temperature_celsius": celsius, "conditions": sky, "wind_kmh": wind}


async def ask_server(
    client: httpx.AsyncClient, url: str, arguments: str, authorization: str
) -> dict[str, Any]:
    """Have a server answer the model's call, in the caller's name; a failure is an `error` as above."""
    headers = {
        "Content-Type": "application/json",
        **({"Authorization": authorization} if authorization else {}),
    }
    try:
        answer = await client.post(url, content=arguments, headers=headers)
        found = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return {"error": f"the weather server does not answer: {error}"}
    return found if isinstance(found, dict) else {"error": "the weather server answers with no object"}

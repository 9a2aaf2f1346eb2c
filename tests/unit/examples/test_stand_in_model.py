"""The stand-in model behaves as a model that can call tools, for whoever asks."""

import importlib.util
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "forecast", "parameters": {"properties": {"city": {}}}},
}


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


model = load(EXAMPLES / "stand-in-model" / "stand_in_model.py")
weather = load(EXAMPLES / "weather-agent" / "weather_agent" / "weather.py")


def ask(text: str, **more: Any) -> dict[str, Any]:
    return model.complete(
        {"model": "m", "messages": [{"role": "user", "content": text}], "tools": [TOOL], **more}
    )


@pytest.mark.parametrize(
    ("question", "city"),
    [
        ("What is the weather like in Prague?", "Prague"),
        ("How warm is it in New York now?", "New York"),
        ("The weather for Brno, please", "Brno"),
    ],
)
def test_a_question_about_a_city_calls_the_tool_that_takes_one(question: str, city: str) -> None:
    choice = ask(question)["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert choice["finish_reason"] == "tool_calls"
    assert call["function"]["name"] == "forecast"
    assert json.loads(call["function"]["arguments"]) == {"city": city}


def test_a_question_without_a_city_is_answered_by_a_question() -> None:
    choice = ask("Hello!")["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"].endswith("which one?")


def test_without_a_tool_no_tool_is_called() -> None:
    assert "tool_calls" not in ask("Weather in Rome?", tools=[])["choices"][0]["message"]


def test_the_tools_result_is_put_into_words() -> None:
    messages = [
        {"role": "user", "content": "Weather in Prague?"},
        {
            "role": "tool",
            "tool_call_id": "1",
            "content": json.dumps(weather.get_weather('{"city": "prague"}')),
        },
    ]
    text = model.complete({"messages": messages})["choices"][0]["message"]["content"]
    assert text == "In Prague it is 17 °C and partly cloudy, with wind at 12 km/h."


def test_an_error_of_the_tool_is_reported() -> None:
    result = weather.get_weather('{"city": "Atlantis"}')
    assert model.phrase(result).startswith(
        "I could not find that out: no weather station in Atlantis. I know Berlin,"
    )


@pytest.mark.parametrize("arguments", ["", "Prague", "[]", "{}"])
def test_a_call_that_cannot_be_read_is_answered_with_how_to_call(arguments: str) -> None:
    assert weather.get_weather(arguments) == {
        "error": 'the argument must be a JSON object such as {"city": "Prague"}'
    }


def test_usage_is_counted_from_the_texts() -> None:
    usage = ask("Hello there!", tools=[])["usage"]
    # "Hello", "there", "!" and the two brackets of no tools.
    assert usage["prompt_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert ask("Hello there, how are you?", tools=[])["usage"]["prompt_tokens"] == 9


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"messages": []}',
        '{"messages": "hi"}',
        '{"messages": [{}], "stream": true}',
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(text: str) -> None:
    with pytest.raises(model.BadRequest):
        model.complete(json.loads(text))


@pytest.fixture
def url() -> Iterator[str]:
    with model.ThreadingHTTPServer(("127.0.0.1", 0), model.Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def send(url: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(url, data=body)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_it_speaks_the_protocol_of_openai(url: str) -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    status, answer = send(f"{url}/v1/chat/completions", body)
    assert (status, answer["object"], answer["model"]) == (200, "chat.completion", "m")
    assert send(f"{url}/v1/models")[1]["data"][0]["id"] == "stand-in"
    assert send(f"{url}/healthz") == (200, {"status": "ok"})


@pytest.mark.parametrize(("path", "status"), [("/v1/chat/completions", 400), ("/v1/embeddings", 404)])
def test_a_refusal_has_the_form_of_openai(url: str, path: str, status: int) -> None:
    code, answer = send(url + path, b"no json")
    assert code == status
    assert answer["error"]["type"] == "invalid_request_error"

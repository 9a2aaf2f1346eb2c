"""The weather agent and the stand-in model as processes: what a caller gets, and what is traced of it."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from kagenti_devcluster.testing.ports import free_port
from kagenti_devcluster.toolchain import environments

EXAMPLES = Path(__file__).parents[2] / "examples"
SINK = Path(__file__).with_name("span_sink.py")
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
_START_SECONDS = 60.0


@contextmanager
def running(log: Path, *command: str | Path, **environment: str) -> Generator[subprocess.Popen[str]]:
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(timeout=60)
            assert process.stdout is not None
            process.stdout.close()


def wait_healthy(url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except OSError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@dataclass
class Span:
    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, Any]


class Bench:
    """The agent, its model, and a place that its spans go to."""

    def __init__(self, folder: Path, agent_url: str, sink: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.agent_url = agent_url
        self._sink = sink

    def ask(self, method: str, params: dict[str, Any], **headers: str) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
        request = urllib.request.Request(
            self.agent_url,
            data=json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                **{k.replace("_", "-"): v for k, v in headers.items()},
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def send_message(self, text: str, **headers: str) -> dict[str, Any]:
        """`message/send` of A2A 0.3."""
        parts = [{"kind": "text", "text": text}]
        message = {"kind": "message", "messageId": str(uuid4()), "role": "user", "parts": parts}
        return self.ask("message/send", {"message": message}, **headers)

    def trace_of_agent(self) -> dict[str, Span]:
        """The agent's own spans of the next request that ends, by name; later spans of a name win."""
        assert self._sink.stdout is not None
        spans: dict[str, Span] = {}
        for line in self._sink.stdout:
            span = Span(**json.loads(line))
            if not span.name.startswith("a2a."):
                spans[span.name] = span
            if span.name == "invoke_agent weather-agent":
                break
        return spans


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    python = environments.find("agent")
    model, agent = free_port(), free_port()
    with ExitStack() as running_here:
        sink = running_here.enter_context(running(tmp_path / "sink.log", python, "-P", SINK))
        assert sink.stdout is not None
        sink_port = int(sink.stdout.readline())
        model_log, agent_log = tmp_path / "model.log", tmp_path / "agent.log"
        stand_in = EXAMPLES / "stand-in-model" / "stand_in_model.py"
        running_here.enter_context(
            running(model_log, sys.executable, stand_in, HOST="127.0.0.1", PORT=str(model))
        )
        running_here.enter_context(
            running(
                agent_log,
                *(python, "-m", "weather_agent"),
                PYTHONPATH=str(EXAMPLES / "weather-agent"),
                PYTHONDONTWRITEBYTECODE="1",
                HOST="127.0.0.1",
                PORT=str(agent),
                INFERENCE_MODEL="stand-in",
                VLLM_URL=f"http://127.0.0.1:{model}/v1",
                OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{sink_port}",
                OTEL_BSP_SCHEDULE_DELAY="100",
            )
        )
        wait_healthy(f"http://127.0.0.1:{model}", model_log)
        wait_healthy(f"http://127.0.0.1:{agent}", agent_log)
        yield Bench(tmp_path, f"http://127.0.0.1:{agent}/", sink)


def test_answers_and_traces_by_the_conventions(bench: Bench) -> None:
    answer = bench.send_message("What is the weather like in Prague?", traceparent=f"00-{TRACE}-{CALLER}-01")
    text = "In Prague it is 17 °C and partly cloudy, with wind at 12 km/h."
    assert answer["result"]["kind"] == "message"
    assert answer["result"]["parts"] == [{"kind": "text", "text": text}]

    spans = bench.trace_of_agent()
    agent, chat = spans["invoke_agent weather-agent"], spans["chat stand-in"]
    tool = spans["execute_tool get_weather"]
    assert {span.trace for span in spans.values()} == {TRACE}
    assert agent.parent == CALLER
    assert (chat.parent, tool.parent) == (agent.id, agent.id)
    assert agent.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert json.loads(agent.attributes["gen_ai.output.messages"])[0]["parts"][0]["content"] == text
    assert chat.attributes["gen_ai.provider.name"] == "openai"
    assert chat.attributes["gen_ai.usage.input_tokens"] > 20
    assert chat.attributes["gen_ai.usage.output_tokens"] > 10
    assert tool.attributes["gen_ai.tool.call.arguments"] == '{"city": "Prague"}'


def test_a_caller_that_does_not_trace_gets_a_trace_with_a_root(bench: Bench) -> None:
    params = {"message": {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "Weather in Rome?"}]}}
    answer = bench.ask("SendMessage", params, A2A_Version="1.0")
    assert answer["result"]["message"]["parts"][0]["text"].startswith("In Rome it is 24 °C")
    assert bench.trace_of_agent()["invoke_agent weather-agent"].parent == ""


def test_a_tool_that_cannot_answer_is_a_failed_span_and_an_answer_in_words(bench: Bench) -> None:
    answer = bench.send_message("What is the weather like in Atlantis?")
    assert "no weather station in Atlantis" in answer["result"]["parts"][0]["text"]
    spans = bench.trace_of_agent()
    assert spans["execute_tool get_weather"].failed
    assert not spans["invoke_agent weather-agent"].failed


def test_its_card_says_who_it_is(bench: Bench) -> None:
    with urllib.request.urlopen(f"{bench.agent_url}.well-known/agent-card.json", timeout=10) as answer:
        card = json.loads(answer.read())
    assert card["name"] == "Weather agent"
    assert {i["protocolVersion"] for i in card["supportedInterfaces"]} == {"1.0", "0.3"}
    assert card["skills"][0]["examples"] == ["What is the weather like in Prague?"]


def test_a_model_that_is_down_is_an_error_of_the_agent(tmp_path: Path) -> None:
    python, port = environments.find("agent"), free_port()
    with running(
        tmp_path / "agent.log",
        *(python, "-m", "weather_agent"),
        PYTHONPATH=str(EXAMPLES / "weather-agent"),
        PYTHONDONTWRITEBYTECODE="1",
        HOST="127.0.0.1",
        PORT=str(port),
        INFERENCE_MODEL="away",
        VLLM_URL=f"http://127.0.0.1:{free_port()}/v1",
        OTEL_SDK_DISABLED="true",
    ) as process:
        wait_healthy(f"http://127.0.0.1:{port}", tmp_path / "agent.log")
        answer = Bench(tmp_path, f"http://127.0.0.1:{port}/", process).send_message("Weather in Rome?")
    assert "the model gave no answer" in answer["error"]["message"]


def test_without_a_model_it_says_what_is_missing(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("INFERENCE_MODEL", "VLLM_URL")}
    environment |= {"PYTHONPATH": str(EXAMPLES / "weather-agent"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [environments.find("agent"), "-m", "weather_agent"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is not set: it names the model to ask" in done.stderr

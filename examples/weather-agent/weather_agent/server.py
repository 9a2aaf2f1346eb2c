"""The agent as an A2A server: agent card, and JSON-RPC of protocol versions 1.0 and 0.3 at `/`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from a2a.helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from a2a.utils.errors import InternalError, UnsupportedOperationError
from openai import OpenAIError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from weather_agent import telemetry
from weather_agent.agent import Model, NoAnswer, WeatherAgent


class Executor(AgentExecutor):
    """Answers each message with one message."""

    def __init__(self, agent: WeatherAgent) -> None:
        self._agent = agent

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer; a failure becomes a JSON-RPC error that says why."""
        headers = context.call_context.state.get("headers", {})
        try:
            text = await self._agent.answer(
                context.get_user_input(), headers, conversation=context.context_id or ""
            )
        except (OpenAIError, NoAnswer) as error:
            raise InternalError(message=f"the model gave no answer: {error}") from error
        await event_queue.enqueue_event(new_text_message(text, context_id=context.context_id))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Refuse: an answer takes seconds."""
        del context, event_queue
        raise UnsupportedOperationError(message="answers cannot be cancelled")


def build_card(url: str) -> AgentCard:
    """What the agent says of itself; `url` is where it can be reached."""
    skill = AgentSkill(
        id="weather",
        name="Current weather",
        description="Tells the current weather of a city.",
        tags=["weather"],
        examples=["What is the weather like in Prague?"],
    )
    interfaces = [
        AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version)
        for version in ("1.0", "0.3")
    ]
    return AgentCard(
        name="Weather agent",
        description="Answers questions about the current weather, with a tool.",
        version="1.0.0",
        supported_interfaces=interfaces,
        capabilities=AgentCapabilities(streaming=False),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[skill],
    )


def build_app(model: Model, url: str, tool_url: str = "") -> Starlette:
    """The whole server; spans left over at its end are still sent."""
    agent = WeatherAgent(model, tool_url)
    card = build_card(url)
    handler = DefaultRequestHandler(
        agent_executor=Executor(agent), task_store=InMemoryTaskStore(), agent_card=card
    )
    tracing = telemetry.set_up()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await agent.close()
        tracing.shutdown()

    async def health(_: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    routes = [
        Route("/healthz", health),
        *create_agent_card_routes(card),
        *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True),
    ]
    return Starlette(routes=routes, lifespan=lifespan)

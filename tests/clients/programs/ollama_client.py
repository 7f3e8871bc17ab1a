"""The Python package `ollama`. Its key is in OLLAMA_API_KEY; PULLED names a model that `pull` may delete again."""

from __future__ import annotations

import os

import ollama
from pydantic import BaseModel, Field
from scenarios import QUESTION, Target, run

MESSAGES = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": QUESTION}]
GREEDY = {"temperature": 0, "num_predict": 20}
FIGURES = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


class Place(BaseModel, extra="forbid"):
    name: str = Field(max_length=20)
    population: int = Field(ge=0, le=10**8)


def get_weather(city: str) -> str:
    """Tell the weather.

    Args:
      city: The city's name
    """
    return f"sunny in {city}"


def client(target: Target) -> ollama.Client:
    return ollama.Client(host=target.root)


def check_figures(answer: ollama.ChatResponse | ollama.GenerateResponse) -> None:
    assert answer.done
    assert answer.done_reason in ("stop", "length")
    assert all(getattr(answer, name) > 0 for name in FIGURES), answer


def chat(target: Target) -> str:
    answer = client(target).chat(target.chat_model, MESSAGES, options=GREEDY)
    check_figures(answer)
    return answer.message.content


def stream(target: Target) -> str:
    *parts, last = client(target).chat(target.chat_model, MESSAGES, options=GREEDY, stream=True)
    check_figures(last)
    return "".join(part.message.content for part in [*parts, last])


async def achat(target: Target) -> str:
    return (
        await ollama.AsyncClient(host=target.root).chat(target.chat_model, MESSAGES, options=GREEDY)
    ).message.content


async def astream(target: Target) -> str:
    parts = await ollama.AsyncClient(host=target.root).chat(target.chat_model, MESSAGES, options=GREEDY, stream=True)
    return "".join([part.message.content async for part in parts])


def generate(target: Target) -> str:
    answer = client(target).generate(target.chat_model, QUESTION, system="You are a helpful assistant.", options=GREEDY)
    check_figures(answer)
    return answer.response


def generate_stream(target: Target) -> str:
    parts = client(target).generate(
        target.chat_model, QUESTION, system="You are a helpful assistant.", options=GREEDY, stream=True
    )
    return "".join(part.response for part in parts)


def raw(target: Target) -> str:
    return client(target).generate(target.chat_model, "Once upon a time", raw=True, options=GREEDY).response


def turn(city: str) -> list[dict[str, object]]:
    """A question with its call and result, so that a small model knows what to do. Names stand for ids here."""
    made = {"function": {"name": "get_weather", "arguments": {"city": city}}}
    return [
        {"role": "user", "content": f"What is the weather in {city}?"},
        {"role": "assistant", "content": "", "tool_calls": [made]},
        {"role": "tool", "tool_name": "get_weather", "content": get_weather(city)},
        {"role": "assistant", "content": f"It is sunny in {city}."},
    ]


WEATHER = [
    *turn("Rome"),
    *turn("Berlin"),
    *turn("Madrid"),
    {"role": "user", "content": "What is the weather in Paris?"},
]
CALLING = {"temperature": 0, "num_predict": 60}


def call(target: Target) -> object:
    """The call, its result, and an answer to that."""
    answer = client(target).chat(target.chat_model, WEATHER, tools=[get_weather], options=CALLING)
    [made] = answer.message.tool_calls
    result = {"role": "tool", "tool_name": made.function.name, "content": get_weather(**made.function.arguments)}
    end = client(target).chat(target.chat_model, [*WEATHER, answer.message, result], options=CALLING)
    assert end.message.content
    return f"{made.function.name} {dict(made.function.arguments)}"


def call_streamed(target: Target) -> object:
    parts = client(target).chat(target.chat_model, WEATHER, tools=[get_weather], options=CALLING, stream=True)
    [made] = [made for part in parts for made in part.message.tool_calls or []]
    return f"{made.function.name} {dict(made.function.arguments)}"


def structured(target: Target) -> object:
    answer = client(target).chat(
        target.chat_model, MESSAGES, format=Place.model_json_schema(), options={"temperature": 0, "num_predict": 100}
    )
    return Place.model_validate_json(answer.message.content).model_dump()


def logprobs(target: Target) -> object:
    answer = client(target).chat(target.chat_model, MESSAGES, options=GREEDY, logprobs=True, top_logprobs=2)
    assert len(answer.logprobs) == answer.eval_count
    assert all(len(entry.top_logprobs) == 2 for entry in answer.logprobs)
    return "".join(entry.token for entry in answer.logprobs)


def load(target: Target) -> object:
    return client(target).generate(target.chat_model).done_reason


def listed(target: Target) -> object:
    models = {model.model: model for model in client(target).list().models}
    found = models[target.chat_model]
    assert len(found.digest) == 64
    assert found.size > 0
    return [*models, found.details.quantization_level, found.details.parameter_size]


def shown(target: Target) -> object:
    found = client(target).show(target.chat_model)
    context = found.modelinfo[f"{found.modelinfo['general.architecture']}.context_length"]
    return [context, bool(found.template), *found.capabilities]


def loaded(target: Target) -> object:
    return [model.model for model in client(target).ps().models if model.size > 0 and model.context_length > 0]


def embed(target: Target) -> list[int]:
    answer = client(target).embed(target.embedding_model, ["Paris", "Rome"])
    assert answer.prompt_eval_count > 0
    return [len(vector) for vector in answer.embeddings]


def embeddings(target: Target) -> list[int]:
    return [len(client(target).embeddings(target.embedding_model, word).embedding) for word in ("Paris", "Rome")]


def missing(target: Target) -> object:
    """Of a model that isn't there: programs pull it then."""
    try:
        client(target).chat("nobody/here", MESSAGES)
    except ollama.ResponseError as error:
        return [error.status_code, "isn't served here" in error.error]
    return None


async def pull(target: Target) -> object:
    """Pulled twice, listed, deleted, and gone."""
    name = os.environ["PULLED"]
    caller = ollama.AsyncClient(host=target.root)
    told = [event.status async for event in await caller.pull(name, stream=True)]
    assert (await caller.pull(name)).status == "success"
    before = [model.model for model in (await caller.list()).models]
    await caller.delete(name)
    after = [model.model for model in (await caller.list()).models]
    return [told[-1], name in before, name in after]


def unload(target: Target) -> object:
    """By an administrator, and loaded again by the next request."""
    caller = client(target)
    reason = caller.generate(target.chat_model, keep_alive=0).done_reason
    gone = [model.model for model in caller.ps().models]
    return [reason, target.chat_model in gone, caller.generate(target.chat_model).done_reason]


run(
    {
        scenario.__name__: scenario
        for scenario in (
            chat,
            stream,
            achat,
            astream,
            generate,
            generate_stream,
            raw,
            call,
            call_streamed,
            structured,
            logprobs,
            load,
            listed,
            shown,
            loaded,
            embed,
            embeddings,
            missing,
            pull,
            unload,
        )
    }
)

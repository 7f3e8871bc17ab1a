"""LangChain: `langchain-openai`."""

from __future__ import annotations

import functools
import operator

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field
from scenarios import QUESTION, Target, run


class City(BaseModel):
    """A city."""

    name: str
    population: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "sunny"


def model(target: Target, **options: object) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=target.base_url,
        api_key="none",
        model=target.chat_model,
        temperature=0,
        max_tokens=options.pop("max_tokens", 20),
        max_retries=0,
        **options,
    )


def invoke(target: Target) -> object:
    return model(target).invoke(QUESTION).content


def stream(target: Target) -> str:
    return "".join(str(chunk.content) for chunk in model(target).stream(QUESTION))


def stream_usage(target: Target) -> str:
    return "".join(str(chunk.content) for chunk in model(target, stream_usage=True).stream(QUESTION))


async def ainvoke(target: Target) -> object:
    return (await model(target).ainvoke([("system", "You are a helpful assistant."), ("human", QUESTION)])).content


def batch(target: Target) -> list[object]:
    return [answer.content for answer in model(target).batch([QUESTION, "What is the capital of Italy?"])]


def structured(target: Target) -> str:
    return repr(model(target).with_structured_output(City).invoke(QUESTION))


class Place(BaseModel):
    """A place."""

    name: str = Field(max_length=20)
    population: int = Field(ge=0, le=10**8)


def structured_schema(target: Target) -> object:
    """Invoked and streamed."""
    asked = ChatOpenAI(
        base_url=target.base_url, api_key="none", model=target.chat_model, temperature=0, max_tokens=100, max_retries=0
    )
    place = asked.with_structured_output(Place, method="json_schema")
    whole, *_, last = place.invoke(QUESTION), *place.stream(QUESTION)
    assert isinstance(whole, Place)
    assert last == whole
    return whole.model_dump()


def structured_by_tool(target: Target) -> str:
    return repr(model(target).with_structured_output(City, method="function_calling").invoke(QUESTION))


def json_mode(target: Target) -> str:
    return repr(model(target).with_structured_output(None, method="json_mode").invoke(QUESTION + " Answer in JSON."))


def tools(target: Target) -> object:
    return model(target).bind_tools([get_weather]).invoke(QUESTION).content


def call(target: Target) -> str:
    """The call, and the answer to its result."""
    bound = model(target, max_tokens=60).bind_tools([get_weather], tool_choice="get_weather", parallel_tool_calls=False)
    asked = HumanMessage("What is the weather in Rome?")
    made = bound.invoke([asked])
    result = get_weather.invoke(made.tool_calls[0])
    end = model(target).bind_tools([get_weather], tool_choice="none").invoke([asked, made, result])
    return f"{made.tool_calls[0]['args']} {end.content}"


def call_streamed(target: Target) -> str:
    bound = model(target, max_tokens=60).bind_tools([get_weather], tool_choice="required", parallel_tool_calls=False)
    chunks = list(bound.stream("What is the weather in Rome?"))
    return str(functools.reduce(operator.add, chunks).tool_calls[0]["args"])


def logprobs(target: Target) -> int:
    return len(model(target, logprobs=True, top_logprobs=2).invoke(QUESTION).response_metadata["logprobs"]["content"])


def complete(target: Target) -> str:
    return OpenAI(
        base_url=target.base_url, api_key="none", model=target.chat_model, temperature=0, max_tokens=8
    ).invoke("Once upon a time")


def embed(target: Target) -> list[int]:
    """With check_embedding_ctx_length it would send the token ids of a tokenizer of OpenAI's."""
    model = OpenAIEmbeddings(
        base_url=target.base_url, api_key="none", model=target.embedding_model, check_embedding_ctx_length=False
    )
    return [len(vector) for vector in model.embed_documents(["one", "two"])]


if __name__ == "__main__":
    run(
        {
            f.__name__: f
            for f in (
                invoke,
                stream,
                stream_usage,
                ainvoke,
                batch,
                structured,
                structured_schema,
                structured_by_tool,
                json_mode,
                tools,
                call,
                call_streamed,
                logprobs,
                complete,
                embed,
            )
        }
    )

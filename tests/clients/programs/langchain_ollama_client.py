"""LangChain over Ollama's API: `langchain-ollama`."""

from __future__ import annotations

from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from pydantic import BaseModel, Field
from scenarios import QUESTION, Target, run


class Place(BaseModel, extra="forbid"):
    """A place."""

    name: str = Field(max_length=20)
    population: int = Field(ge=0, le=10**8)


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return "sunny"


def model(target: Target, num_predict: int = 20) -> ChatOllama:
    """It asks at once whether the model is there."""
    return ChatOllama(
        model=target.chat_model,
        base_url=target.root,
        temperature=0,
        num_predict=num_predict,
        validate_model_on_init=True,
    )


def invoke(target: Target) -> object:
    answer = model(target).invoke(QUESTION)
    assert answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["done_reason"] in ("stop", "length")
    return answer.content


def stream(target: Target) -> str:
    return "".join(str(chunk.content) for chunk in model(target).stream(QUESTION))


async def ainvoke(target: Target) -> object:
    return (await model(target).ainvoke([("system", "You are a helpful assistant."), ("human", QUESTION)])).content


def structured(target: Target) -> object:
    place = model(target, 100).with_structured_output(Place, method="json_schema").invoke(QUESTION)
    assert isinstance(place, Place)
    return place.model_dump()


def tools(target: Target) -> object:
    """A small model may call nothing; the request goes through."""
    return bool(
        model(target).bind_tools([get_weather]).invoke("What is the weather in Paris?").response_metadata["done"]
    )


def embed(target: Target) -> list[int]:
    embeddings = OllamaEmbeddings(model=target.embedding_model, base_url=target.root)
    return [len(vector) for vector in embeddings.embed_documents(["Paris", "Rome"])]


run({scenario.__name__: scenario for scenario in (invoke, stream, ainvoke, structured, tools, embed)})

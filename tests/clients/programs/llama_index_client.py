"""LlamaIndex: `llama-index-llms-openai-like` and `llama-index-embeddings-openai-like`."""

from __future__ import annotations

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
from scenarios import QUESTION, Target, run


class City(BaseModel):
    name: str
    population: int


def model(target: Target, **options: object) -> OpenAILike:
    settings = {"is_chat_model": True, "max_tokens": 20, "temperature": 0, "max_retries": 0, **options}
    return OpenAILike(model=target.chat_model, api_base=target.base_url, api_key="none", **settings)


def chat(target: Target) -> str | None:
    return model(target).chat([ChatMessage(role="user", content=QUESTION)]).message.content


def stream(target: Target) -> str:
    return "".join(part.delta or "" for part in model(target).stream_chat([ChatMessage(role="user", content=QUESTION)]))


def complete(target: Target) -> str:
    return model(target, is_chat_model=False).complete("Once upon a time").text


async def acomplete(target: Target) -> str:
    return (await model(target).acomplete("Once upon a time")).text


def tools(target: Target) -> str:
    tool = FunctionTool.from_defaults(fn=lambda city: "sunny", name="get_weather", description="The weather in a city.")
    return str(model(target, is_function_calling_model=True).chat_with_tools([tool], user_msg=QUESTION))


def structured(target: Target) -> str:
    return repr(model(target, is_function_calling_model=True).as_structured_llm(City).complete(QUESTION).raw)


def embed(target: Target) -> list[int]:
    embedder = OpenAILikeEmbedding(model_name=target.embedding_model, api_base=target.base_url, api_key="none")
    return [len(vector) for vector in embedder.get_text_embedding_batch(["one", "two"])]


if __name__ == "__main__":
    run({f.__name__: f for f in (chat, stream, complete, acomplete, tools, structured, embed)})

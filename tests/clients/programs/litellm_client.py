"""LiteLLM, with the provider prefix openai/ (and text-completion-openai/, hosted_vllm/)."""

from __future__ import annotations

import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Else it asks the network for a price list.

import litellm
from scenarios import QUESTION, Target, run

litellm.telemetry = False
MESSAGES = [{"role": "user", "content": QUESTION}]
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


def options(target: Target, provider: str = "openai") -> dict[str, object]:
    return {
        "model": f"{provider}/{target.chat_model}",
        "api_base": target.base_url,
        "api_key": "none",
        "max_tokens": 20,
        "temperature": 0,
        "num_retries": 0,
    }


def completion(target: Target) -> str:
    return litellm.completion(messages=MESSAGES, **options(target)).choices[0].message.content


async def acompletion(target: Target) -> str:
    return (await litellm.acompletion(messages=MESSAGES, **options(target))).choices[0].message.content


def stream(target: Target) -> str:
    chunks = litellm.completion(messages=MESSAGES, stream=True, **options(target))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


async def astream(target: Target) -> str:
    chunks = await litellm.acompletion(
        messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **options(target)
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


def hosted_vllm(target: Target) -> str:
    return litellm.completion(messages=MESSAGES, **options(target, "hosted_vllm")).choices[0].message.content


def tools(target: Target) -> str:
    return (
        litellm.completion(messages=MESSAGES, tools=[TOOL], tool_choice="auto", **options(target))
        .choices[0]
        .message.content
    )


def json_object(target: Target) -> str:
    return (
        litellm.completion(messages=MESSAGES, response_format={"type": "json_object"}, **options(target))
        .choices[0]
        .message.content
    )


def text_completion(target: Target) -> str:
    return (
        litellm.text_completion(prompt="Once upon a time", **options(target, "text-completion-openai")).choices[0].text
    )


def embedding(target: Target) -> list[int]:
    answer = litellm.embedding(
        model=f"openai/{target.embedding_model}", input=["one", "two"], api_base=target.base_url, api_key="none"
    )
    return [len(item["embedding"]) for item in answer.data]


if __name__ == "__main__":
    run(
        {
            f.__name__: f
            for f in (
                completion,
                acompletion,
                stream,
                astream,
                hosted_vllm,
                tools,
                json_object,
                text_completion,
                embedding,
            )
        }
    )

"""What alert rules read of /metrics."""

from __future__ import annotations

import re


async def samples(api, name):
    text = (await api.http.get("/metrics")).text
    found = re.findall(rf"^llmos:{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


async def test_answers_are_counted_by_status(api):
    await api.chat()
    await api.chat(stream=True)
    await api.chat(temperature=9)
    await api.http.get("/nowhere")
    await api.http.request("BREW", "/health")
    assert await samples(api, "http_requests_total") == {
        'method="POST",status="200"': 2,
        'method="POST",status="400"': 1,
        'method="GET",status="404"': 1,
        'method="other",status="405"': 1,
    }


async def test_refusals_before_routing_are_counted_too(api):
    await api.http.get("/health", headers={"Host": "evil.example"})
    assert await samples(api, "http_requests_total") == {'method="GET",status="421"': 1}


async def test_the_state_of_an_engine(make_api):
    api = make_api(state="restarting")
    states = await samples(api, "engine_state")
    assert [labels for labels, value in states.items() if value] == ['model_name="tiny",state="restarting"']

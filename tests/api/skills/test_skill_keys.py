"""Runs under the caller's key: its place, its models, its limits."""

from __future__ import annotations

from llmos_server.access.gate import Gate


class TestKeys:
    async def test_a_run_takes_one_place_and_its_calls_are_the_keys(self, make_api, host, fakes):
        keys = fakes.MemoryKeys()
        key = keys.add(max_in_flight=1)
        api = make_api("Hello", plugins=host, gate=Gate(keys))
        headers = {"Authorization": f"Bearer {key}"}
        reply = await api.post("/v1/skills/odd/run", {"text": "many"}, headers=headers)
        assert reply.status_code == 200, reply.text
        [key_id] = keys.stored
        assert {request.owner for request in api.generator.requests} == {key_id}
        assert (await api.post("/v1/skills/odd/run", {"text": "x"})).status_code == 401

    async def test_a_keys_models_and_tokens_hold(self, make_api, host, fakes):
        keys = fakes.MemoryKeys()
        poor = {"Authorization": f"Bearer {keys.add(tokens_per_minute=10)}"}
        other = {"Authorization": f"Bearer {keys.add(models=('else',))}"}
        api = make_api("Hello", plugins=host, gate=Gate(keys))
        reply = await api.post("/v1/skills/odd/run", {"text": "many"}, headers=poor)
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        reply = await api.post("/v1/skills/echo/run", {"text": "x"}, headers=other)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "model_not_allowed")

    async def test_a_key_may_be_limited_to_skills(self, make_api, host, fakes):
        keys = fakes.MemoryKeys()
        headers = {"Authorization": f"Bearer {keys.add(skills=('echo',))}"}
        api = make_api("Hello", plugins=host, gate=Gate(keys))
        assert (await api.post("/v1/skills/echo/run", {"text": "x"}, headers=headers)).status_code == 200
        chat = api.chat("x", model="skill:odd", headers=headers)
        for reply in (await api.post("/v1/skills/odd/run", {"text": "x"}, headers=headers), await chat):
            assert (reply.status_code, reply.json()["error"]["code"]) == (403, "skill_not_allowed")
        for path, names in (("/v1/llmos/skills", ["echo"]), ("/v1/models", ["tiny", "skill:echo"])):
            listed = (await api.http.get(path, headers=headers)).json()["data"]
            assert [entry.get("id", entry.get("name")) for entry in listed] == names

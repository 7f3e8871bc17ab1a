"""One run of a skill: its model ready and held, its code in a thread of its own, its failures told by name."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET

from llmos_server.access.limits import Lease
from llmos_server.api.accounting.visits import take_place
from llmos_server.api.errors import QueueFull
from llmos_server.api.flights import Use, flight_of
from llmos_server.api.generation.plans import new_id
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model
from llmos_server.api.http.context import request_id_of
from llmos_server.api.schemas.skills import SkillResult
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services, services_of
from llmos_server.api.skills.access import disabled
from llmos_server.api.skills.context import RunContext
from llmos_server.api.skills.evaluations import tell_score
from llmos_server.api.skills.events import RunEvents
from llmos_server.api.skills.session import SkillSession
from llmos_server.errors import InvalidRequest, LLMOSError, ModelNotFound, PluginFailed
from llmos_server.plugins.failures import FailureKind
from llmos_server.plugins.loading import Offer
from llmos_server.skills.runner import RunBlocked, RunnersBusy, RunTimedOut
from llmos_server.skills.skill import InputError, Skill


class InvalidOutput(Exception):
    """The skill returned what it may not; str(error) says what."""


@dataclass(kw_only=True)
class SkillRun:
    """run() once. events: what it tells meanwhile; they end when it does."""

    request: AnyRequest
    offer: Offer
    served: ServedModel
    input: Any
    events: RunEvents

    @property
    def skill(self) -> Skill[Any, Any]:
        skill: Skill[Any, Any] = self.offer.value
        return skill

    async def run(self) -> SkillResult:
        """Raises PluginFailed for what is the skill's fault, InvalidRequest for the input's, and what its model's
        engine raises."""
        services = services_of(self.request)
        try:
            await self._check_enabled(services)
            self._check_switch(services)
            services.skill_history.begin(self.skill.name)
            with take_place(self.request, uses_tokens=True) as lease, self.served.engine.hold():
                return await self._run(services, lease)
        finally:
            self.events.end()

    async def _run(self, services: Services, lease: Lease) -> SkillResult:
        with flight_of(self.request).using(Use(self.served.id)):
            info = await self.served.engine.wait_ready(services.settings.load_timeout_seconds)
        version = self.served.version
        digest = version.digest if version is not None else info.model_digest
        session = SkillSession(self.request, self.skill, self.served, info, lease)
        context = RunContext(session, self.events, asyncio.get_running_loop(), digest)
        try:
            output = await self._call(services, context)
        finally:
            session.close()
        fields = msgspec.to_builtins(output)
        result = SkillResult(
            id=new_id("skill"),
            created=int(time.time()),
            skill=self.skill.name,
            version=self.skill.version,
            model=self.served.id,
            model_digest=digest,
            result=fields.pop("result"),
            details=fields,
            usage=session.usage(),
            minimum_score=UNSET if self.skill.minimum_score is None else self.skill.minimum_score,
        )
        await tell_score(services, self.skill, result)
        return result

    async def _call(self, services: Services, context: RunContext) -> Any:
        skill, name = self.skill, self.skill.name
        try:
            output = await services.runner.run(lambda: skill.run(self.input, context), skill.timeout_seconds)
            self._check(output)
        except InputError as error:
            message = f"{error.field}: {error}"
            raise InvalidRequest(message, param=error.field, code="invalid_value") from None
        except LLMOSError:
            raise
        except RunnersBusy:
            most = services.plugins.settings.max_runs
            raise QueueFull(f"{most} skills run already (plugins.max_runs). Send this again later.") from None
        except RunTimedOut as error:
            what = f"took longer than its {skill.timeout_seconds:g} s"
            raise self._failed(services, "timeout", what, error) from None
        except RunBlocked as error:
            what = f"took longer than its {skill.timeout_seconds:g} s, and blocks its thread"
            raise self._failed(services, "blocked", what, error) from None
        except InvalidOutput as error:
            raise self._failed(services, "invalid", f"answered what it may not: {error}", error) from None
        except Exception as error:
            what = f"failed ({type(error).__name__}); the server's log tells where"
            raise self._failed(services, "raised", what, error) from None
        services.plugins.failures.switch(self.offer.plugin, self.offer.hook, name).succeeded()
        return output

    def _check(self, output: Any) -> None:
        kind = self.skill.output_type
        if not isinstance(output, kind):
            raise InvalidOutput(f"a {type(output).__name__} instead of a {kind.__name__}")
        try:
            result = msgspec.to_builtins(output)["result"]
            msgspec.convert(msgspec.to_builtins(output), kind)
        except (TypeError, msgspec.ValidationError) as error:
            raise InvalidOutput(str(error)) from None
        written = self.events.written
        if written and not (isinstance(result, str) and result.startswith(written)):
            raise InvalidOutput("a result that doesn't begin with what it has written")

    async def _check_enabled(self, services: Services) -> None:
        """Here, too, and by the database: the run may be one of an agent's, that began before, and the administrator
        may have asked another server on the same database."""
        if services.store is not None and await services.store.skill_switches.is_disabled(self.skill.name):
            raise disabled(self.skill.name)

    def _check_switch(self, services: Services) -> None:
        """A run that raises costs nobody else anything; those that keep their thread are what a skill is switched off
        for."""
        switch = services.plugins.failures.switch(self.offer.plugin, self.offer.hook, self.skill.name)
        if not switch.admits():
            raise PluginFailed(
                f"The skill {self.skill.name} of the plugin {self.offer.plugin} is switched off, because its last runs "
                "took too long. Try again later.",
                retry_after=switch.retry_after,
            )

    def _failed(self, services: Services, kind: FailureKind, what: str, error: Exception) -> PluginFailed:
        plugin, hook, name = self.offer.plugin, self.offer.hook, self.skill.name
        services.plugins.failures.note(plugin, hook, name, kind, error)
        services.skill_history.fail(name, kind, error, request_id_of(self.request))
        if kind in ("timeout", "blocked"):
            services.plugins.failures.switch(plugin, hook, name).failed()
        return PluginFailed(f"The skill {name} of the plugin {plugin} {what}.")


async def create_run(request: AnyRequest, offer: Offer, model: str | None, input: Any) -> SkillRun:
    """model: None is the skill's own where that is served, else the default. Raises ModelNotFound, Forbidden."""
    served = await _choose_model(request, offer.value, model)
    _require_kind(offer.value, served)
    return SkillRun(request=request, offer=offer, served=served, input=input, events=RunEvents())


def _require_kind(skill: Skill[Any, Any], served: ServedModel) -> None:
    """Raises InvalidRequest."""
    if served.kind in skill.model_kinds:
        return
    kinds = " or a ".join(sorted(skill.model_kinds, reverse=True))
    raise InvalidRequest(
        f"The skill {skill.name} asks a {kinds}; {served.id} is one of kind {served.kind}. Name another model (GET "
        "/v1/models tells which there are).",
        param="model",
        code="unsupported_value",
    )


async def _choose_model(request: AnyRequest, skill: Skill[Any, Any], model: str | None) -> ServedModel:
    if model is None and skill.model is not None:
        try:
            return await find_model(request, skill.model)
        except ModelNotFound:
            pass
    return await find_model(request, model)

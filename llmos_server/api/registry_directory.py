"""Whatever was pulled is served: the registry is asked at every request, so what came or went meanwhile is noticed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress

import msgspec

from llmos_server.api.renderers import RendererCache
from llmos_server.api.served import ListedModel, ServedModel, preference
from llmos_server.contracts import ModelVersion
from llmos_server.errors import InvalidRequest, ModelNotFound, PullError, UnsupportedModel
from llmos_server.fleet_contracts import EngineFleet
from llmos_server.registry.parameters import with_elements
from llmos_server.registry.registry import Registry
from llmos_server.settings import ModelOptions


class RegistryDirectory:
    """Implements served.Directory. Reading a manifest takes some 0.1 ms; a tokenizer, the first time, up to a second.

    default: a canonical name. aliases: other name -> canonical name. options: by canonical name.
    """

    def __init__(
        self,
        registry: Registry,
        fleet: EngineFleet,
        renderers: RendererCache,
        *,
        default: str,
        aliases: Mapping[str, str],
        options: Mapping[str, ModelOptions] | None = None,
    ) -> None:
        self._registry = registry
        self._fleet = fleet
        self._renderers = renderers
        self._default = default
        self._aliases = dict(aliases)
        self._options = dict(options or {})
        self._counted: dict[str, ModelVersion] = {}

    async def get(self, name: str | None) -> ServedModel:
        """See served.Directory."""
        listed = self._find(self._default if name is None else name)
        assert listed.version is not None
        renderer = await self._renderers.get(listed.version)
        fields = {field.name: getattr(listed, field.name) for field in dataclasses.fields(listed)}
        return ServedModel(**fields, renderer=renderer)

    def default(self) -> ListedModel:
        """See served.Directory."""
        return self._find(self._default)

    def list(self) -> Sequence[ListedModel]:
        """Chat models first, the default one before the others; encoders last."""
        versions = self._registry.servable()
        here = {version.name for version in versions}
        for name in self._fleet.names():
            if name not in here:
                self._fleet.remove(name, ModelNotFound(f"The model {name!r} was removed."))
        listed = [self._describe(version) for version in versions]
        return sorted(listed, key=lambda model: (*preference(model), model.id != self._default, model.id))

    def aliases_of(self, model_id: str) -> Sequence[str]:
        """Sorted."""
        return sorted(alias for alias, target in self._aliases.items() if target == model_id)

    def _find(self, name: str) -> ListedModel:
        """Raises ModelNotFound, which lists the known names."""
        try:
            return self._describe(self._registry.get(name))
        except (ModelNotFound, InvalidRequest) as error:
            with suppress(InvalidRequest):
                self._fleet.remove(self._registry.resolve(name), ModelNotFound(f"The model {name!r} was removed."))
            known = ", ".join([*(model.id for model in self.list()), *self._aliases]) or "none"
            remedy = getattr(error, "remedy", "") or error
            raise ModelNotFound(f"The model {name!r} isn't served here. Served names: {known}. {remedy}") from None

    def _describe(self, version: ModelVersion) -> ListedModel:
        version = self._with_elements(version)
        engine = self._fleet.engine(version)
        options = self._options.get(version.name, ModelOptions())
        return ListedModel(
            id=version.name,
            created=version.created,
            engine=engine,
            kind=version.kind,
            version=version,
            tool_format=options.tool_format,
            turns=options.turns,
            reasoning=options.reasoning,
        )

    def _with_elements(self, version: ModelVersion) -> ModelVersion:
        """The memory budget needs the numbers. Read once a file."""
        if version.elements:
            return version
        if version.digest not in self._counted:
            self._counted[version.digest] = version
            with suppress(PullError, UnsupportedModel):  # Damaged: its load will tell.
                self._counted[version.digest] = with_elements(version)
        counted = self._counted[version.digest]
        return msgspec.structs.replace(version, elements=counted.elements, num_parameters=counted.num_parameters)

"""Other names for models, from settings: tools hard-code names such as gpt-4o-mini."""

from __future__ import annotations

from collections.abc import Mapping

from llmos_server.errors import InvalidRequest, SettingsError
from llmos_server.registry.names import FileReference, PypiReference, SkillName, parse_name


class Aliases:
    """An alias stands for a whole name: behind it, `:x` is an adapter, never a tag."""

    def __init__(self, aliases: Mapping[str, str]) -> None:
        """Raises SettingsError for a cycle, or a target that is no model name."""
        self._aliases = dict(aliases)
        for alias, target in self._aliases.items():
            try:
                self.resolve(alias)
            except InvalidRequest as error:
                raise SettingsError(f"[models] aliases: {alias!r} = {target!r}: {error}") from None

    @property
    def names(self) -> list[str]:
        return list(self._aliases)

    def resolve(self, name: str) -> str:
        """The canonical name of a model that can be pulled.

        Raises InvalidRequest for what is no model name, and for kinds of names that can't be served yet.
        """
        parsed = parse_name(self._replace(name))
        if isinstance(parsed, SkillName):
            reason = "a skill is a model in chats only: /v1/chat/completions, /v1/messages, /api/chat and /api/generate"
            raise _not_yet(name, reason)
        if not isinstance(parsed, FileReference | PypiReference) and parsed.adapter is not None:
            raise _not_yet(name, f"{parsed.adapter!r} is no adapter that is known here; llmos adapters list shows all")
        if getattr(parsed, "alias", None) is not None:
            raise _not_yet(name, "name@alias can't be served yet; use the name before the @")
        return str(parsed)

    def _replace(self, name: str) -> str:
        for _ in range(len(self._aliases) + 1):
            alias = self._longest_alias(name)
            if alias is None:
                return name
            name = self._aliases[alias] + name[len(alias) :]
        raise InvalidRequest(f"{name[:200]!r} leads in a circle.", param="model", code="invalid_model_name")

    def _longest_alias(self, name: str) -> str | None:
        if name in self._aliases:
            return name
        return max((alias for alias in self._aliases if name.startswith(f"{alias}:")), key=len, default=None)


def _not_yet(name: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{name!r}: {reason}.", param="model", code="unsupported_model_name")

"""Models' names that plugins give, among the operator's own."""

from __future__ import annotations

import dataclasses

from llmos_server.plugins.host import PluginHost
from llmos_server.settings import Settings
from llmos_server.settings_sources import Origin


def with_model_names(settings: Settings, host: PluginHost) -> Settings:
    """The operator's aliases win over those of plugins."""
    given = {offer.value.name: offer.value.reference for offer in host.offers("register_models")}
    if not given:
        return settings
    models = dataclasses.replace(settings.models, aliases={**given, **settings.models.aliases})
    origins = {("models", "aliases"): Origin("default", "plugins"), **settings.origins}
    return dataclasses.replace(settings, models=models, origins=origins)

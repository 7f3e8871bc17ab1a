"""The terminal interface reads what the server writes: each of its structs against the server's own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from llmos_tui.wire import chat as tui_chat
from llmos_tui.wire import conversations, evals, inside, jobs, keys, live, logs, models, settings, skills, tuning
from llmos_tui.wire.common import Wire

from llmos_server.api.schemas import (
    admin,
    admin_adapters,
    admin_inspection,
    admin_jobs,
    admin_live,
    admin_logs,
    admin_models,
    admin_requests,
    admin_settings,
    admin_skills,
    chat,
    common,
    feedback,
    files,
    stored,
)
from llmos_server.api.schemas import evals as server_evals
from llmos_server.api.schemas import fine_tuning as server_tuning
from llmos_server.api.schemas import models as served_models
from llmos_server.registry import structure

PAIRS: list[tuple[type[msgspec.Struct], type[Wire]]] = [
    (admin_live.Histogram, live.Histogram),
    (admin_live.Pages, live.Pages),
    (admin_live.LiveModel, live.LiveModel),
    (admin_live.Overview, live.Overview),
    (admin_live.PageMap, live.PageMap),
    (admin_requests.InFlightDetails, live.InFlight),
    (admin_requests.InFlightList, live.InFlightList),
    (admin_requests.RequestAborted, live.Aborted),
    (admin_models.AdminModel, models.ModelRow),
    (admin_models.AdminModelList, models.ModelRows),
    (admin_inspection.TemplateAnswer, inside.Template),
    (admin_inspection.Preview, inside.Preview),
    (admin_inspection.AttentionAnswer, inside.Attention),
    (structure.Tensor, inside.Tensor),
    (admin_logs.LogList, logs.LogPage),
    (admin_logs.LogGap, logs.LogGap),
    (admin.KeyInfo, keys.Key),
    (admin_jobs.JobDetails, jobs.JobDetails),
    (admin_skills.AdminSkillList, skills.SkillList),
    (admin_jobs.JobList, jobs.JobList),
    (admin_settings.SettingList, settings.SettingList),
    (served_models.Model, tui_chat.ServedModel),
    (chat.TopLogprob, tui_chat.Alternative),
    (chat.TokenLogprobEntry, tui_chat.Token),
    (chat.ChoiceLogprobs, tui_chat.Logprobs),
    (common.PromptTokensDetails, tui_chat.PromptDetails),
    (common.CompletionTokensDetails, tui_chat.CompletionDetails),
    (common.ErrorDetail, tui_chat.ErrorDetail),
    (stored.ListedConversation, conversations.Conversation),
    (stored.ConversationList, conversations.ConversationList),
    (feedback.Feedback, conversations.Feedback),
    (server_tuning.FineTuningJob, tuning.TuningRun),
    (server_tuning.FineTuningJobList, tuning.TuningRunList),
    (files.File, tuning.UploadedFile),
    (admin_adapters.AdapterInfo, tuning.Adapter),
    (admin_adapters.AdapterList, tuning.AdapterList),
    (server_evals.Eval, evals.Eval),
    (server_evals.EvalList, evals.EvalList),
    (server_evals.EvalRun, evals.EvalRun),
    (server_evals.EvalRunList, evals.EvalRunList),
    (server_evals.EvalComparison, evals.EvalComparison),
]


def sample(of: Any, *, is_full: bool) -> Any:
    """A value of this type as JSON has it. is_full: with what may be null or empty."""
    info = of if isinstance(of, msgspec.inspect.Type) else msgspec.inspect.type_info(of)
    match info:
        case msgspec.inspect.StructType():
            tag = {info.tag_field: info.tag} if info.tag_field else {}
            return tag | {field.encode_name: sample(field.type, is_full=is_full) for field in info.fields}
        case msgspec.inspect.UnionType():
            has_null = any(isinstance(each, msgspec.inspect.NoneType) for each in info.types)
            if has_null and not is_full:
                return None
            return sample(
                next(each for each in info.types if not isinstance(each, msgspec.inspect.NoneType)), is_full=is_full
            )
        case msgspec.inspect.ListType() | msgspec.inspect.VarTupleType():
            return [sample(info.item_type, is_full=is_full)] if is_full else []
        case msgspec.inspect.TupleType():
            return [sample(each, is_full=is_full) for each in info.item_types]
        case msgspec.inspect.DictType():
            return {"name": sample(info.value_type, is_full=is_full)} if is_full else {}
        case msgspec.inspect.LiteralType():
            return info.values[0]
        case msgspec.inspect.IntType():
            return 7
        case msgspec.inspect.FloatType():
            return 0.5
        case msgspec.inspect.BoolType():
            return True
        case msgspec.inspect.NoneType():
            return None
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.AnyType():
            return {"any": [1]}
    raise AssertionError(f"no sample of {info}")


@pytest.mark.parametrize("is_full", [True, False])
@pytest.mark.parametrize(("server", "tui"), PAIRS, ids=lambda kind: kind.__name__)
def test_what_the_server_writes_is_read(server: type[msgspec.Struct], tui: type[Wire], is_full: bool) -> None:
    """Each field that the interface knows comes from the server under this name, with the same value."""
    written = msgspec.json.encode(msgspec.convert(sample(server, is_full=is_full), server))
    read = msgspec.json.decode(written, type=tui)
    values = msgspec.json.decode(written)
    for field in msgspec.structs.fields(tui):
        assert field.name in values, field.name
        assert msgspec.to_builtins(read)[field.name] == _known(values[field.name], field.type), field.name


def _known(value: Any, kind: Any) -> Any:
    """Without what the interface's struct doesn't have."""
    return msgspec.to_builtins(msgspec.convert(value, kind))


@pytest.mark.parametrize("module", [admin_live, admin_requests], ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_struct_of_the_server_has_its_pair(module: Any) -> None:
    """A new one has to be shown."""
    kinds = {kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    paired = {each for server, _ in PAIRS for each in server.__mro__}
    assert kinds - paired == set()

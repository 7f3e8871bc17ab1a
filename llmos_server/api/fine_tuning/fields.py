"""Which fields of a fine-tuning job are honoured. See api/bodies/field_rules.py."""

from __future__ import annotations

from llmos_server.api.bodies.field_rules import Table, honoured, refused, values
from llmos_server.api.bodies.fields import equals
from llmos_server.api.evals.fields import GRADERS

_TRACKERS = (
    'nothing is sent to Weights & Biases. Read the metrics at /events or in result_files, or send "set": '
    '{"report_to": "tensorboard"} to have them in the job\'s folder'
)

HYPERPARAMETERS: Table = {
    "batch_size": honoured('1 to 256 examples a step, or "auto"'),
    "learning_rate_multiplier": honoured('above 0, or "auto" (1)'),
    "n_epochs": honoured('1 to 50, or "auto"'),
}
DPO_HYPERPARAMETERS: Table = {**HYPERPARAMETERS, "beta": honoured('above 0 up to 2, or "auto" (0.1)')}
_ROLLOUTS = 'answers are drawn as the recipe says: send "set" with num_generations, max_completion_length and so on'
REINFORCEMENT_HYPERPARAMETERS: Table = {
    **HYPERPARAMETERS,
    "eval_interval": honoured('steps between two measures on validation_file, or "auto" (an epoch)'),
    "eval_samples": values(equals("auto"), _ROLLOUTS),
    "compute_multiplier": values(equals("auto"), _ROLLOUTS),
    "reasoning_effort": values(equals("default"), "models are asked here as their template asks them"),
}
REINFORCEMENT: Table = {
    "grader": honoured("gives each answer its reward; {{item.NAME}} are the line's own fields", by_type=GRADERS),
    "hyperparameters": honoured("", nested=REINFORCEMENT_HYPERPARAMETERS),
}
GATE: Table = {
    "eval_id": honoured("an eval of this key, at which the result may not do worse than the model"),
    "tolerance": honoured("by how much it may, in the eval's own score; 0 when absent"),
}
METHOD: Table = {
    "type": honoured("supervised, dpo, reinforcement"),
    "supervised": honoured("", nested={"hyperparameters": honoured("", nested=HYPERPARAMETERS)}),
    "dpo": honoured("", nested={"hyperparameters": honoured("", nested=DPO_HYPERPARAMETERS)}),
    "reinforcement": honoured("", nested=REINFORCEMENT),
}
CREATE_JOB: Table = {
    "model": honoured("a chat model of this server, by name; no adapter"),
    "training_file": honoured("the id of a file of the purpose fine-tune"),
    "validation_file": honoured("the same; its loss is measured once an epoch"),
    "method": honoured("supervised when absent", nested=METHOD),
    "hyperparameters": honoured("the older place of the supervised method's", nested=HYPERPARAMETERS),
    "suffix": honoured("1 to 64 characters of the result's name; what isn't a letter, digit, '.' or '_' becomes '-'"),
    "seed": honoured("0 to 2147483647; one is made when absent"),
    "metadata": honoured("up to 16 texts of up to 512 characters, under names of up to 64"),
    "integrations": refused(_TRACKERS),
    "recipe": honoured(
        "a recipe by name (sft_lora, dpo ...), or a plugin's (PLUGIN:NAME), instead of the method's usual one"
    ),
    "set": honoured('keys of TRL over the recipe\'s, as {"lora_r": 32, "learning_rate": 1e-4}'),
    "too_long": honoured("refuse (usual) or drop: what happens to examples longer than max_length; none is ever cut"),
    "gate": honoured("an eval that decides whether the result is promoted", nested=GATE),
}

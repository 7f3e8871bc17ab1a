"""Chat templates in the manner of the common families, rendered by us and by Transformers.

A plain module: conftest.py puts this folder on sys.path.
"""

from __future__ import annotations

from typing import Any

import pytest

from llmos_server.chat.template import ChatTemplate

NAMED = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}

TEMPLATES = {
    "smollm2": """{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}
{{- '<|im_start|>system\nBe helpful.<|im_end|>\n' }}{% endif %}
{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}""",
    "llama2": """{%- if messages[0].role == 'system' %}
    {%- set rest = messages[1:] %}{% set system = messages[0].content %}
{%- else %}
    {%- set rest = messages %}{% set system = false %}
{%- endif %}
{%- for message in rest %}
    {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Roles must alternate: user, assistant, user, …') }}
    {%- endif %}
    {%- set text = message.content %}
    {%- if loop.first and system %}{% set text = '<<SYS>>\n' ~ system ~ '\n<</SYS>>\n\n' ~ text %}{% endif %}
    {%- if message.role == 'user' %}{{ bos_token + '[INST] ' + text.strip() + ' [/INST]' }}
    {%- else %}{{ ' ' + text.strip() + ' ' + eos_token }}{% endif %}
{%- endfor %}""",
    "llama3": """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = '26 Jul 2024' %}
{%- endif %}
{{- date_string }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' }}
    {%- if message['content'] is string %}{{ message['content'] | trim }}
    {%- else %}
        {%- for part in message['content'] %}{{ part['text'] | trim if part['type'] == 'text' else '?' }}{% endfor %}
    {%- endif %}{{ '<|eot_id|>' }}
{%- endfor %}
{% if tools is not none %}{% for tool in tools %}{{ tool | tojson(indent=4) }}
{% endfor %}{% endif %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}""",
    "mistral": """{%- set ns = namespace(seen=0, last=-1) -%}
{{ bos_token }}{% for message in messages if message.role != 'system' -%}
{% if message.role == 'user' %}{% set ns.seen = ns.seen + 1 %}[INST] {{ message.content }}[/INST]
{%- elif message.role == 'assistant' %} {{ message.content | trim }}{{ eos_token }}{% endif %}{% endfor %}
{{- ns.seen }}""",
    "qwen": """{%- macro head(role) %}{{ '<|im_start|>' ~ role ~ '\n' }}{% endmacro %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == 'assistant' and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\n') %}
    {%- endif %}
    {%- if message.reasoning_content is defined and loop.last %}
        {{- '<think>' ~ message.reasoning_content ~ '</think>' }}
    {%- endif %}
    {{- head(message.role) + content }}
    {%- for call in message.tool_calls or [] %}
        {%- set body = {'name': call.function.name, 'arguments': call.function.arguments} %}
        {{- '\n<tool_call>\n' ~ body | tojson ~ '\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- head('assistant') }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}
{%- endif %}""",
    "gemma": """{{ bos_token }}
{%- for message in messages %}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<start_of_turn>' ~ role }}
{{ message['content'] | trim }}<end_of_turn>
{% endfor %}
{%- if add_generation_prompt %}<start_of_turn>model
{% endif %}""",
    "phi3": """{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}
{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}""",
    "generation": """{% for m in messages %}
{% set colour = 'out' %}
{% if m.role == 'assistant' %}
{% generation %}{% set colour = 'in' %}{{ colour }}: {{ m.content }}{{ eos_token }}{% endgeneration %}
{% else %}
{{ m.content }}
{% endif %}
{{ colour }}
{%- endfor %}""",
    "loop_controls": """{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}
{% if loop.index > 3 %}{% break %}{% endif %}
  {% for c in m.content[:5] %}{{ c | upper }}{{ '-' if not loop.last }}{% endfor %}
    {# a comment #}
{% endfor %}
""",
    "json": """{{ messages | tojson }}
{{ tools | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}
{% for m in messages | selectattr('role', 'equalto', 'user') %}{{ m | items | list }}{{ m.content | e }}{% endfor %}
{{ range(3) | list }}{{ dict(a=1) }}{{ documents is none }}{{ undefined_name }}{{ unk_token }}""",
    "parts_only": """{% for m in messages %}{{ m.role }}:{% for part in m['content'] %}
{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %};
{% endfor %}""",
}


def transformers_text(template: str, messages: list[dict[str, Any]], **options: Any) -> str:
    """What PreTrainedTokenizer.apply_chat_template does before it encodes."""
    utils = pytest.importorskip("transformers.utils.chat_template_utils")
    cleaned = [{key: value for key, value in message.items() if value is not None} for message in messages]
    rendered, _ = utils.render_jinja_template([cleaned], chat_template=template, **NAMED, **options)
    return str(rendered[0])


def our_text(source: str, messages: list[dict[str, Any]], **options: Any) -> str:
    template = ChatTemplate(source, NAMED)
    return template.render(template.prepare(messages, **options))

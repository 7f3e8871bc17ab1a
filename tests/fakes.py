"""Stand-ins for an engine, a model's text side, skills and keys: all of them, for who is handed this module."""

from __future__ import annotations

from fake_encoders import ScriptedClassifier, ScriptedEncoder, output_of
from fake_generator import ScriptedGenerator, logprob_of
from fake_keys import MemoryKeys
from fake_renderer import BOS, EOS, TURN, ByteRenderer
from fake_skills import Shout, ShoutPlugin, create_skills

__all__ = [
    "BOS",
    "EOS",
    "TURN",
    "ByteRenderer",
    "MemoryKeys",
    "ScriptedClassifier",
    "ScriptedEncoder",
    "ScriptedGenerator",
    "Shout",
    "ShoutPlugin",
    "create_skills",
    "logprob_of",
    "output_of",
]

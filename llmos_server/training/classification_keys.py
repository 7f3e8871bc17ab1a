"""Keys of recipes that train a classifier, beside the trainer's and the model's. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class ClassificationKeys:
    problem_type: str = "auto"
    """As Transformers has it: single_label_classification, multi_label_classification, regression; auto: by the
    labels of the file."""
    max_length: int = 256

"""What a training starts from: settings that fit their data."""

from __future__ import annotations

from dataclasses import dataclass

from framework.config.settings import Settings
from framework.core.task import Task
from framework.data.images import Images


@dataclass(frozen=True)
class Experiment:
    """Settings that fit their data: what training starts from."""

    settings: Settings
    images: Images
    task: Task
    demonstration: bool

"""The sections of a recipe: each setting exists once, here, with its default, range and help."""

from whet.sections.data import Data
from whet.sections.evaluate import Evaluate
from whet.sections.model import EMBEDDED_BASE, Lora, Model
from whet.sections.section import Section
from whet.sections.synth import Synth
from whet.sections.train import Train

__all__ = ["EMBEDDED_BASE", "Data", "Evaluate", "Lora", "Model", "Section", "Synth", "Train"]

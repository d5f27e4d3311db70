"""The spec: the YAML file that describes one sweep, read, checked and resolved."""

from eadbench.harness.spec.files import dump, load, name_of, parse, written
from eadbench.harness.spec.resolved import AttackEntry, DatasetEntry, DefenseEntry, Spec, TrainingEntry, VictimEntry
from eadbench.harness.spec.schema import FileTargets, Images, RandomTargets, Resources, SpecFile

__all__ = [
    "AttackEntry",
    "DatasetEntry",
    "DefenseEntry",
    "FileTargets",
    "Images",
    "RandomTargets",
    "Resources",
    "Spec",
    "SpecFile",
    "TrainingEntry",
    "VictimEntry",
    "dump",
    "load",
    "name_of",
    "parse",
    "written",
]

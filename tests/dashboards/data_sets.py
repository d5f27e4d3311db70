"""Data sets for the tests of pages."""

from dataclasses import replace

from eadbench.harness import datasets

__all__ = ["SCRIPT", "as_mnist", "with_html_names"]

SCRIPT = "<script>alert('&')</script>"
"""A name that a page must show as text."""


def as_mnist() -> datasets.DataSet:
    """Return the digits under MNIST's name, so that the paper has figures to compare with."""
    return replace(datasets.load("digits"), name="mnist", identity="mnist")


def with_html_names() -> datasets.DataSet:
    """Return the digits with names that are HTML."""
    names = tuple(f"{SCRIPT}{digit}" for digit in range(10))
    return replace(datasets.load("digits"), name=SCRIPT, identity=SCRIPT, class_names=names)

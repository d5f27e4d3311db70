"""The report as one HTML file that loads no other file."""

from eadbench.dashboards.page.report import write

__all__ = ["write"]

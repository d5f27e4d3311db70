"""The report as one HTML file, which needs nothing beside itself."""

from eadbench.dashboards.page.writing import write

__all__ = ["write"]

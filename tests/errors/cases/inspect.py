"""Reports for a browser."""

from __future__ import annotations

from graphc.inspect.report import Report

CASES = (lambda folder: Report("nothing", {}, ()).save(folder / "absent" / "report.html"),)

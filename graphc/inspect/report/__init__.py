"""A report on a compiled graph as one static HTML file: every pass, gradients beside what they are
of, kernels with the code generated for them, memory, roofline, timeline.

    report(executable, batch=16).save("report.html")

It asks the executable, its pipeline and its backend; it knows none of them by name.
"""

from graphc.inspect.report.report import PassReport, Report, report

__all__ = ["PassReport", "Report", "report"]

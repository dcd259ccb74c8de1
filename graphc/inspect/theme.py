"""Colours and shapes of drawings and of pages around them, light and dark, as CSS.

Variables are declared where a theme is chosen; everything else only names them. The colour of a
box's left side says of what family its op is.
"""

from __future__ import annotations

LIGHT = """
  --paper: #ffffff; --ink: #1f2328; --faint: #59636e; --line: #8c959f; --edge: #d1d9e0;
  --box: #f6f8fa; --accent: #0969da; --added: #d2f4d9; --added-line: #1a7f37; --removed: #ffdcd9;
  --removed-line: #cf222e; --changed: #fff3c4; --changed-line: #9a6700; --contraction: #0969da;
  --tile: #0969da; --layer: #0969da; --reduction: #8250df; --view: #1b7c83; --alias: #1b7c83;
  --input: #bf5600; --structure: #57606a;
"""
DARK = """
  --paper: #0d1117; --ink: #e6edf3; --faint: #9198a1; --line: #6e7681; --edge: #30363d;
  --box: #1a2028; --accent: #4493f8; --added: #12361f; --added-line: #3fb950; --removed: #4a1a1d;
  --removed-line: #f85149; --changed: #3f3312; --changed-line: #d29922; --contraction: #4493f8;
  --tile: #4493f8; --layer: #4493f8; --reduction: #ab7df8; --view: #39c5cf; --alias: #39c5cf;
  --input: #f0883e; --structure: #8b949e;
"""
FAMILIES = ("contraction", "tile", "layer", "reduction", "view", "alias", "input", "structure")
SHAPES = """
.graphc text { font: 11px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
  monospace; fill: var(--faint); white-space: pre; }
.graphc .name { fill: var(--ink); font-weight: 600; }
.graphc .box { fill: var(--box); stroke: var(--line); }
.graphc .family { fill: var(--line); }
.graphc path { fill: none; stroke: var(--line); stroke-width: 1.2; }
.graphc .added .box { fill: var(--added); stroke: var(--added-line); stroke-width: 1.6; }
.graphc .removed .box { fill: var(--removed); stroke: var(--removed-line); stroke-width: 1.6; }
.graphc .changed .box { fill: var(--changed); stroke: var(--changed-line); }
.graphc text.added { fill: var(--added-line); }
.graphc text.removed { fill: var(--removed-line); }
.graphc text.changed { fill: var(--changed-line); }
""" + "\n".join(f".graphc .{family} .family {{ fill: var(--{family}); }}" for family in FAMILIES)
STYLE = f"""
.graphc {{ {LIGHT} background: var(--paper); }}
@media (prefers-color-scheme: dark) {{ .graphc {{ {DARK} }} }}
{SHAPES}
"""

"""The documentation site: Sphinx, Markdown pages, and reference pages made from the program."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

from benchmark import __version__  # noqa: E402 - the line above is for `generated`

project = "backdoor-bench"
author = "the backdoor-bench contributors"
copyright = author
release = version = __version__

extensions = ["myst_parser", "generated"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nitpicky = True

html_theme = "furo"  # brings its own fonts and scripts: a built page loads nothing from elsewhere
html_static_path = ["_static"]
html_js_files = ["accessible.js"]
html_title = f"backdoor-bench {__version__}"
html_copy_source = False
html_show_sourcelink = False

"""``python -m graphc.cli`` is ``graphc``."""

import sys

from graphc.cli import main

if __name__ == "__main__":
    sys.exit(main())

"""python -m xaimed_core.study: the same as `xaimed study`."""

import sys

from xaimed_core.cli import main

sys.exit(main(["study", *sys.argv[1:]]))

"""python -m xaimed_bench.study: the same as `xaimed study`."""

import sys

from xaimed_bench.cli import main

sys.exit(main(["study", *sys.argv[1:]]))

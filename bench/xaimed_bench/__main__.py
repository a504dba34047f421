"""`python -m xaimed_bench`: the `xaimed` command of a checkout that is not installed."""

import sys

from xaimed_bench.cli import main

sys.exit(main())

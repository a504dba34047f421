"""`python -m xaimed_core.cli`: the `xaimed` command of a checkout that is not installed."""

import sys

from xaimed_core.cli import main

sys.exit(main())

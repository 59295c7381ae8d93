"""Run the command line as `python -m ratelimit`."""

import sys

from ratelimit.cli import main

sys.exit(main())

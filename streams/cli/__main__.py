"""``python -m streams.cli``: what the ``moot`` command runs."""

import sys

from streams.cli import main

sys.exit(main())

"""`python -m erde_cli`."""

import sys

from erde_cli.app import main

sys.exit(main())

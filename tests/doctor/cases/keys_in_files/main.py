"""Nothing to find here."""

import autogen

print(autogen.__version__)

"""A module that reads a variable at import, as crews in notebooks do."""

import os

TOKEN = os.environ["CRM_TOKEN"]

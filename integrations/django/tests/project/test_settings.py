"""The project, whose test databases are copies of a template."""

import os

from project.settings import *  # noqa: F403
from project.settings import DATABASES

TEMPLATE = os.environ["PGDATABASE"]
DATABASES["default"]["TEST"] = {"TEMPLATE": TEMPLATE, "NAME": f"test_{TEMPLATE}"}
QSESSIONS = {}

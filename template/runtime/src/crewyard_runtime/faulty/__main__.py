"""`python -m crewyard_runtime.faulty api|worker`: the gateway or a worker of the faulty application."""

import argparse
import sys

from crewyard_runtime.cli.service import serve_api, work
from crewyard_runtime.faulty import application
from crewyard_runtime.privacy import keep_private

keep_private()
parser = argparse.ArgumentParser()
parser.add_argument("command", choices=["api", "worker"])
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, default=8000)
parser.add_argument("--workers", type=int, default=1)
arguments = parser.parse_args()

applications = {application.name: application}
if arguments.command == "api":
    sys.exit(serve_api(arguments, "crewyard_runtime.faulty:create_app", applications))
sys.exit(work(arguments, applications))

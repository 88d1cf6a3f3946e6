"""`python -m crewyard_runtime` is the project's command under another name."""

from crewyard_runtime.cli import main

main()

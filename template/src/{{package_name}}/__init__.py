"""A support desk: two agents answer customers' tickets, and a person gets what agents should not decide."""

from crewyard_runtime import quiet_frameworks

quiet_frameworks()  # before a module of this package imports one: no telemetry, no question on a terminal

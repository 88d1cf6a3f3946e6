"""The first module that the fork server preloads: no run may look into the process that all later runs are made of."""

from crewyard_runtime.privacy import keep_private

keep_private()

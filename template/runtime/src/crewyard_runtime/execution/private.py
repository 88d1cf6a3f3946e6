"""The first module that the fork server preloads: what no run may look into, because all later ones are made of it."""

from crewyard_runtime.execution.closed import close_named
from crewyard_runtime.privacy import keep_private

keep_private()
close_named()

"""An input whose text reaches a tool, and no prompt."""

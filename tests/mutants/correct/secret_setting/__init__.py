"""An application that needs a key of a service of its own."""

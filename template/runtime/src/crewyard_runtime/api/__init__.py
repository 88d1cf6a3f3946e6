"""The gateway: takes runs in over HTTP, and tells whoever may know how they go."""

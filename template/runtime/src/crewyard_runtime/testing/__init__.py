"""What tests and demos of a project run against instead of a paid model."""

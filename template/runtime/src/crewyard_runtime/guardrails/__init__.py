"""Guards that hold for every crew: what ends a run that goes in circles."""

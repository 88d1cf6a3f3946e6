"""The measurements of a service, one module each: `measure` takes the ground it stands on and gives the rows."""

"""Pages over the results of sweeps."""

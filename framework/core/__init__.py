"""What every room stands on: errors, the registry, value checks, whole files, the run folder, the console."""

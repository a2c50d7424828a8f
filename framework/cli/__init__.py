"""From a command line to checked settings and back to the person: overrides, help, explanations, launching; knows Hydra."""

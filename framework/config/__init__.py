"""From command line and YAML to checked, plain, frozen settings. The only room that knows Hydra and OmegaConf."""

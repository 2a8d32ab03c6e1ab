"""From pictures to a model on the Pi in one command: the steps that a config names, each only if it has to run.

    python -m training.pipeline --config training/configs/pipeline.toml
    python -m training.pipeline --config ... --dry-run
    python -m training.pipeline --config ... --from export --force evaluate

A step runs if it never ran to its end, if its table in the config, the code behind it or a file that it reads has
changed, or if a file that it wrote is missing or altered. RUN/pipeline.json remembers all of that, RUN/logs has what
each step printed. A run that was stopped or killed goes on where it was when it is started again.
"""

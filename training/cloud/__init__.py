"""Training on Amazon SageMaker, a registry of models, files to and from S3, releases on a Raspberry Pi.

    python -m training.cloud upload DATA data                              # to s3://BUCKET/PREFIX/data
    python -m training.cloud launch --config training/configs/third.toml --out RUN
    python -m training.cloud jobs status|stop|fetch JOB
    python -m training.cloud registry register|list|approve|rollback|pull
    python -m training.cloud deploy push|list|rollback

Needs `pip install '.[cloud]'`; `deploy` needs `ssh` and `rsync` instead. Accounts, buckets and hosts are in
`cloud.toml` (`settings.py` says what it may hold) or in the environment; none is in the code.
"""

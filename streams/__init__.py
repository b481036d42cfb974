"""What runs over the log: the projection runner, rebuild, import, and the ``moot`` command."""

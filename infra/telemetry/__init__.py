"""What this process tells of itself: metrics for Prometheus, traces for OpenTelemetry.

``metrics`` declares every metric there is; they are counted always. ``tracing`` records spans where a collector is
named. ``serving`` is where both can be asked for.
"""

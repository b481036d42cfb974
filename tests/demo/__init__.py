"""The demo: a week of a synthetic community."""

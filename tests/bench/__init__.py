"""Benchmarks, each with its baseline in the same run. They are run by hand and never by the test suite."""

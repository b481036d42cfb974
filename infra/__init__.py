"""Adapters of the ports, validated settings, and the composition root that puts them together."""

"""Presence and typing: the rules against a model, and limits."""

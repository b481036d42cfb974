"""Events, states and decisions: the rules of Moot, pure.

Imports nothing of ours, reads no clock, draws no randomness.
"""

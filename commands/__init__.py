"""Use cases: load the streams a decision needs, decide, append. And the ports they need for that."""

"""A synthetic community: its people and words, its first week, and the bots that keep it alive."""

"""Everything that is read from the views, as SQL: what the API shows and nothing it has to compute.

Every function takes a connection first and is one statement. Functions that take ``viewer_id`` give only what
that account may see (``None``: a visitor): nothing of a private community to who is no member. Ids that are not
found are left out of the answer.
"""

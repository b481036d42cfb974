"""The public shapes of what is stored: wire names and versions of events, their envelope, golden schemas, SQL."""

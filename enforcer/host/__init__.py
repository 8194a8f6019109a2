"""WHAT WE CHANGE ON A HOST, and how we find out what a host does."""

"""Where bytes come from. What a source returns was hashed, and is never believed."""

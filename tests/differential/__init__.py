"""Two judges, one artifact: make odd signatures, ask enforcer and notation."""

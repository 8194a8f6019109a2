"""Real engines for tests and the demo: private ones, started and removed by us."""

"""`make bench`: what the gate and the daemon cost, as ratios within one run."""

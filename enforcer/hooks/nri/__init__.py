"""enforcer-nri: an NRI plug-in. It reports, and decides only where NRI fails closed."""

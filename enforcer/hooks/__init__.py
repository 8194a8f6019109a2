"""Who asks: engines that call into a process of ours, one package a door."""

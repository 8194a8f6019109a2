"""Who asks: engines that call into this process. The doors of step 4 come here."""

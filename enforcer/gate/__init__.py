"""Who asks from outside: tiny programs that an engine starts. No answer is a no."""

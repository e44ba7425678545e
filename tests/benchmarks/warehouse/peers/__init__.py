"""Who else could do it: programs that run in an environment of their own."""

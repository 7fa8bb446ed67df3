"""Which plan to make for a goal: whole buffers where they do, else a row program, else one that computes some of it
twice."""

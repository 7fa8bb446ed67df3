"""The two frozen intermediate representations: `Graph` (what to compute) and `Plan` (every decision made)."""

"""The scheduler: `plan_graph` makes plans, `verify_plan` checks them without knowing how they were made."""

from tinycompile.schedule.planner import plan_graph
from tinycompile.schedule.verify_plan import verify_plan

__all__ = ["plan_graph", "verify_plan"]

"""The scheduler: `plan_graph` and `RowPlanner` make plans, `verify_plan` checks them without knowing how."""

from tinycompile.schedule.planner import plan_graph
from tinycompile.schedule.row_planner import RowPlanner
from tinycompile.schedule.verify_plan import verify_plan

__all__ = ["RowPlanner", "plan_graph", "verify_plan"]

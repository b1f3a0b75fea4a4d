"""Where layers come from: one paper, one folder."""

from delaminate.methods.base import Method
from delaminate.methods.registry import METHODS, load_model
from delaminate.methods.settings import MethodConfig
from delaminate.methods.storage import save_model

__all__ = ["METHODS", "Method", "MethodConfig", "load_model", "save_model"]

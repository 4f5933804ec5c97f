"""A web page that segments pictures with one network: made with Gradio, served on this machine."""

from .answers import Answerer
from .server import Served, bind, check_packages, serving

__all__ = ["Answerer", "Served", "bind", "check_packages", "serving"]

"""For tools that ask for this file; all that it would say is in pyproject.toml."""

from setuptools import setup

setup()

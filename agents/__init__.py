"""Agents that learn in simenv's environments, and the command line."""

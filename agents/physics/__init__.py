"""Agents that learn through the physics: by gradients of whole rollouts."""

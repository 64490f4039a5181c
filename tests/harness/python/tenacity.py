"""Stands in for the package of this name: the launcher only looks whether it is there."""

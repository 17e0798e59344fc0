"""Modules that compute from what is stored, where that is faster than the plain weight."""

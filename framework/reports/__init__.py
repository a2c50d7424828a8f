"""Figures and tables made from run folders; builds no model."""

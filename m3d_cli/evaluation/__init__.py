"""Scores of predicted depth against measured depth, alignment always named."""

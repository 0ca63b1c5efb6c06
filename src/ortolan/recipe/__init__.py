"""Recipes: what people write about targets and models, loaded with every mistake at its line."""

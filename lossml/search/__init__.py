"""The search: recipe, history, the loop, the pruner, confirmation and its statistics."""

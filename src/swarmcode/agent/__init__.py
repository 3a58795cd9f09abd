"""How a model is asked for a change: one file per protocol that a model can speak."""

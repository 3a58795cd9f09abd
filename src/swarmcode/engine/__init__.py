"""The inference engine: one model, one context, many sequences. `protocol` is the seam; the rest stands behind it."""

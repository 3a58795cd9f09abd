"""Where untrusted code runs. `protocol` is the seam; docker, bwrap, process and memory stand behind it."""

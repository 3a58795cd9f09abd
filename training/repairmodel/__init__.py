"""How the embedded repair model is made: source code -> faults -> training -> GGUF -> evaluation. See
training/README.md.
"""

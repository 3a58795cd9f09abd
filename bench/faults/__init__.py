"""The parts of `bench/faults.py`: packages, faults, the operators that make them, one measured run, and the tables."""

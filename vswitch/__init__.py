"""A virtual switch with time protection: the control plane."""

"""Our side of Jupyter: a kernel provisioner, which runs inside Jupyter's programs, and its kernelspecs."""

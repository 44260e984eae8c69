"""The process that owns everything: lock, bind, adopt, serve, drain. `python -m kernel_supervisor.daemon` is it."""

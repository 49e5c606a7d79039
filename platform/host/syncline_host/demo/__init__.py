"""The main job from end to end against the HubSpot sandbox: what `make demo` shows and the benchmarks measure."""

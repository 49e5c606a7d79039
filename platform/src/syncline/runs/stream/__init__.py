"""Continuous syncs: messages passed on and taken in as they come, by the processes of `syncline stream`."""

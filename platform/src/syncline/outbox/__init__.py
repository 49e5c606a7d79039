"""What changed here and waits to be pushed: written by triggers in the app's own transaction."""

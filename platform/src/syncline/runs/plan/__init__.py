"""Plans: what a push would do, stored for approval, and applied exactly."""

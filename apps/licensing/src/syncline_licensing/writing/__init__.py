"""From messages to customers and licences, a batch at a time."""

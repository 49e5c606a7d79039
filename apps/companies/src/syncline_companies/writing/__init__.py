"""What pulls write into the register: pure rules for values, whole batches in a few statements each."""

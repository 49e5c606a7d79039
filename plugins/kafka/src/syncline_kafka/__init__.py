"""Apache Kafka for Syncline."""

"""A broker on this machine, to try the connector out: Apache Kafka where its jars are, else the `noida-db` wheel's."""

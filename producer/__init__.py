"""Review files in, Kafka records out; must not know the worker, the store or torch."""

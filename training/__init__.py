"""Review files in, checkpoint folder out; must not know Kafka or the store."""

"""The live page: reads the store and draws it; must not know Kafka, the model or torch."""
